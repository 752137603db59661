// What programs do by dockerode: containers with streams, files, events, networks, volumes, images.
"use strict";
const assert = require("node:assert/strict");
const { execFileSync } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");
const { PassThrough } = require("node:stream");
const Docker = require("dockerode");

const docker = new Docker({ socketPath: process.env.DOCKER_HOST.replace("unix://", "") });
const place = process.argv[2];

async function whole(stream) {
  const pieces = [];
  for await (const piece of stream) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}

// What a framed stream says on its standard output and its standard error.
async function apart(stream) {
  const [out, err] = [new PassThrough(), new PassThrough()];
  docker.modem.demuxStream(stream, out, err);
  stream.on("end", () => (out.end(), err.end())).on("close", () => (out.end(), err.end()));
  return (await Promise.all([whole(out), whole(err)])).map(String);
}

function followed(stream) {
  return new Promise((resolve, reject) => {
    docker.modem.followProgress(stream, (error, lines) => (error ? reject(error) : resolve(lines)));
  });
}

async function facts() {
  assert.equal(String(await docker.ping()), "OK");
  assert.match((await docker.version()).ApiVersion, /^1\.4\d$/);
  const info = await docker.info();
  assert.equal(info.OSType, "linux");
  assert.ok(info.NCPU >= 1 && info.MemTotal > 0 && info.Swarm.LocalNodeState === "inactive");
  await assert.rejects(docker.pull("127.0.0.1:1/nothing:here").then(followed), (error) => Boolean(error.message));
  await assert.rejects(docker.getContainer("nothing").inspect(), { statusCode: 404 });
  await assert.rejects(docker.createContainer({ Image: "nothing:here" }), { statusCode: 404 });
  await assert.rejects(docker.listContainers({ filters: { colour: ["red"] } }), { statusCode: 400 });
}

async function attached() {
  const made = await docker.createContainer({
    Image: "box", Cmd: ["sh", "-c", "cat; echo problem >&2; exit 5"], name: "attached",
    OpenStdin: true, StdinOnce: true, AttachStdin: true, AttachStdout: true, AttachStderr: true, Tty: false,
  });
  const stream = await made.attach({ stream: true, stdin: true, stdout: true, stderr: true, hijack: true });
  const said = apart(stream);
  const waiting = made.wait({ condition: "next-exit" });
  await made.start();
  stream.write("typed\n");
  stream.end("and more\n");
  assert.deepEqual(await said, ["typed\nand more\n", "problem\n"]);
  assert.equal((await waiting).StatusCode, 5);
  await made.remove();
  // docker.run: a terminal, output to a stream.
  const shown = new PassThrough();
  const seen = whole(shown);
  const [result, container] = await docker.run("box", ["sh", "-c", "tty; exit 2"], shown);
  shown.end();
  assert.equal(result.StatusCode, 2);
  assert.match(String(await seen), /^\/dev\/pts\/0\r\n$/);
  await container.remove();
}

async function running() {
  const events = await docker.getEvents({ filters: { type: ["container"], label: ["a=b"] } });
  const actions = [];
  events.on("data", (data) => String(data).trim().split("\n").forEach((line) => actions.push(JSON.parse(line).Action)));
  const made = await docker.createContainer({
    Image: "box", name: "rode", Cmd: ["sh", "-c", "echo one; echo two >&2; exec sleep 600"],
    Labels: { a: "b" }, Env: ["WORD=said"], ExposedPorts: { "7000/tcp": {} },
    HostConfig: { PortBindings: { "7000/tcp": [{ HostPort: "" }] }, Memory: 64 << 20, Binds: ["rode-volume:/v"] },
  });
  await made.start();
  const inspected = await made.inspect();
  assert.ok(inspected.State.Running && inspected.Name === "/rode");
  assert.ok(Number(inspected.NetworkSettings.Ports["7000/tcp"][0].HostPort));
  const [listed] = await docker.listContainers({ filters: { label: ["a=b"] } });
  assert.ok(listed.Id === made.id && listed.Ports[0].PrivatePort === 7000 && listed.Mounts[0].Name === "rode-volume");
  const exec = await made.exec({
    Cmd: ["sh", "-c", "cat; echo $WORD$MORE >&2; exit 7"], Env: ["MORE=more"], WorkingDir: "/tmp",
    AttachStdin: true, AttachStdout: true, AttachStderr: true,
  });
  const stream = await exec.start({ hijack: true, stdin: true });
  const said = apart(stream);
  stream.end("into it\n");
  assert.deepEqual(await said, ["into it\n", "saidmore\n"]);
  assert.equal((await exec.inspect()).ExitCode, 7);
  const plain = await made.exec({ Cmd: ["echo", "plain"], AttachStdout: true, AttachStderr: true });
  assert.deepEqual(await apart(await plain.start({})), ["plain\n", ""]);
  const reading = ["sh", "-c", "read x; stty size"];
  const terminal = await made.exec({ Cmd: reading, Tty: true, AttachStdin: true, AttachStdout: true });
  const typed = await terminal.start({ hijack: true, stdin: true, Tty: true });
  await terminal.resize({ h: 20, w: 70 });
  typed.write("x\n");
  assert.match(String(await whole(typed)), /20 70/);
  const detached = await made.exec({ Cmd: ["touch", "/detached"] });
  await detached.start({ Detach: true });
  const log = await made.logs({ stdout: true, stderr: true, follow: false });
  assert.equal(log.length, 8 + 4 + 8 + 4);
  const following = await made.logs({ stdout: true, stderr: false, follow: true, tail: 5 });
  const line = await new Promise((resolve) => following.once("data", resolve));
  assert.ok(String(line).endsWith("one\n"));
  following.destroy();
  const sample = await made.stats({ stream: false });
  assert.ok(sample.memory_stats.limit === 64 << 20 && sample.cpu_stats.cpu_usage.total_usage > 0 && sample.networks.eth0);
  const flow = await made.stats({ stream: true });
  assert.ok(JSON.parse(await new Promise((resolve) => flow.once("data", resolve))).read);
  flow.destroy();
  assert.ok((await made.top()).Processes.length >= 1);
  fs.writeFileSync(path.join(place, "file"), "put\n");
  execFileSync("tar", ["-czf", path.join(place, "put.tar.gz"), "-C", place, "file"]);
  await made.putArchive(path.join(place, "put.tar.gz"), { path: "/data" });
  assert.ok((await whole(await made.getArchive({ path: "/data/file" }))).includes("put\n"));
  const { headers } = await made.infoArchive({ path: "/data/file" });
  assert.equal(JSON.parse(Buffer.from(headers["x-docker-container-path-stat"], "base64")).size, 4);
  assert.ok((await made.changes()).some((change) => change.Path === "/data/file" && change.Kind === 1));
  await made.update({ CpuShares: 512 });
  await made.rename({ name: "renamed" });
  await made.pause();
  await made.unpause();
  const committed = await made.commit({ repo: "rode-committed", tag: "1", changes: ["ENV K=v"] });
  assert.ok(committed.Id);
  await docker.getImage("rode-committed:1").remove();
  await made.stop({ t: 0 });
  await assert.rejects(made.stop(), { statusCode: 304 });
  await made.start();
  await made.kill({ signal: "SIGKILL" });
  await made.wait();
  assert.equal((await docker.pruneContainers({ filters: { label: ["a=b"] } })).ContainersDeleted[0], made.id);
  await docker.getVolume("rode-volume").remove();
  await new Promise((resolve) => setTimeout(resolve, 100));
  events.destroy();
  for (const action of ["create", "start", "die"]) assert.ok(actions.includes(action), actions.join());
}

async function theRest() {
  const IPAM = { Config: [{ Subnet: "10.78.0.0/24" }] };
  const network = await docker.createNetwork({ Name: "rode-net", Labels: { a: "b" }, IPAM });
  assert.equal((await docker.listNetworks({ filters: { label: ["a=b"] } }))[0].Name, "rode-net");
  const made = await docker.createContainer({ Image: "box", Cmd: ["sleep", "600"] });
  const EndpointConfig = { Aliases: ["other"], IPAMConfig: { IPv4Address: "10.78.0.9" } };
  await network.connect({ Container: made.id, EndpointConfig });
  await made.start();
  assert.equal((await made.inspect()).NetworkSettings.Networks["rode-net"].IPAddress, "10.78.0.9");
  assert.ok((await network.inspect()).Containers[made.id]);
  await network.disconnect({ Container: made.id, Force: true });
  await made.remove({ force: true, v: true });
  await network.remove();
  const volume = await docker.createVolume({ Name: "rode-vol", Labels: { a: "b" } });
  assert.equal((await docker.listVolumes({ filters: { label: ["a=b"] } })).Volumes[0].Name, "rode-vol");
  const gone = await docker.pruneVolumes({ filters: { all: ["true"], label: ["a=b"] } });
  assert.deepEqual(gone.VolumesDeleted, [volume.name]);
  const context = path.join(place, "context");
  fs.mkdirSync(context);
  const steps = "FROM box\nARG WORD\nCOPY leaf /leaf\nRUN echo $WORD > /word; echo building\n";
  fs.writeFileSync(path.join(context, "Dockerfile"), steps);
  fs.writeFileSync(path.join(context, "leaf"), "green\n");
  const asked = { t: "rode:1", buildargs: { WORD: "said" }, labels: { a: "b" } };
  const lines = await followed(await docker.buildImage({ context, src: ["Dockerfile", "leaf"] }, asked));
  assert.ok(lines.some((line) => line.aux?.ID) && lines.some((line) => (line.stream ?? "").includes("building")));
  fs.writeFileSync(path.join(context, "Dockerfile"), "FROM box\nRUN exit 6\n");
  const failed = await followed(await docker.buildImage({ context, src: ["Dockerfile"] }, {}));
  assert.ok(failed.at(-1).errorDetail.code === 6 && failed.at(-1).error.includes("6"));
  const image = docker.getImage("rode:1");
  assert.equal((await image.inspect()).Config.Labels.a, "b");
  assert.ok((await image.history()).length >= 2);
  await image.tag({ repo: "rode", tag: "2" });
  assert.deepEqual((await docker.listImages({ filters: { label: ["a=b"] } }))[0].RepoTags.sort(), ["rode:1", "rode:2"]);
  const saved = path.join(place, "saved.tar");
  fs.writeFileSync(saved, await whole(await image.get()));
  await docker.getImage("rode:2").remove();
  await image.remove();
  await followed(await docker.loadImage(saved));
  assert.ok((await docker.df()).Images.length >= 2);
  await image.remove();
  assert.ok((await docker.pruneImages({ filters: { dangling: ["true"] } })).SpaceReclaimed >= 0);
  assert.ok("SpaceReclaimed" in (await docker.pruneBuilder()));
  assert.ok("NetworksDeleted" in (await docker.pruneNetworks({ filters: { label: ["a=b"] } })));
  await assert.rejects(docker.listServices(), { statusCode: 503 });
}

async function main() {
  await facts();
  await attached();
  await running();
  await theRest();
  console.log("all parts ran");
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
