// A session of testcontainers for Node, with its reaper: the process ends without removing what it has made.
"use strict";
const assert = require("node:assert/strict");
const fs = require("node:fs");
const net = require("node:net");
const path = require("node:path");
const { DockerComposeEnvironment, GenericContainer, Network, Wait } = require("testcontainers");
const { getContainerRuntimeClient, getReaper } = require("testcontainers");

const place = process.argv[2];

function said(host, port) {
  return new Promise((resolve, reject) => {
    let text = "";
    const socket = net.connect(port, host);
    socket.on("data", (data) => (text += data)).on("end", () => resolve(text)).on("error", reject);
  });
}

async function whole(stream) {
  const pieces = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces.map((piece) => Buffer.from(piece)));
}

async function server() {
  const logged = [];
  const started = await new GenericContainer("box")
    .withCommand(["sh", "-c", "echo before; echo ready to serve; exec nc -ll -p 7000 -e echo served"])
    .withExposedPorts(7000)
    .withEnvironment({ WORD: "said" })
    .withLabels({ kind: "test" })
    .withBindMounts([{ source: place, target: "/shared", mode: "ro" }])
    .withTmpFs({ "/scratch": "rw,size=16m" })
    .withUlimits({ nofile: { hard: 512, soft: 256 } })
    .withResourcesQuota({ memory: 0.125, cpu: 1 })
    .withExtraHosts([{ host: "elsewhere", ipAddress: "192.0.2.9" }])
    .withCopyContentToContainer([{ content: "before the start\n", target: "/before", mode: 0o600 }])
    .withCopyFilesToContainer([{ source: path.join(place, "file"), target: "/copied" }])
    .withCopyDirectoriesToContainer([{ source: path.join(place, "tree"), target: "/tree" }])
    .withLogConsumer((stream) => stream.on("data", (line) => logged.push(String(line).trim())))
    .withWaitStrategy(
      Wait.forAll([
        Wait.forLogMessage("ready to serve"),
        Wait.forListeningPorts(),
        Wait.forSuccessfulCommand("test -e /before"),
      ]),
    )
    .start();
  assert.equal(await said(started.getHost(), started.getMappedPort(7000)), "served\n");
  assert.deepEqual(logged.slice(0, 2), ["before", "ready to serve"]);
  assert.equal(started.getLabels().kind, "test");
  let done = await started.exec("cat /before /copied /tree/leaf /shared/file");
  assert.equal(done.stdout, "before the start\nof the host\ngreen\nof the host\n");
  const words = ["sh", "-c", "echo $WORD $MORE; pwd; id -u; ulimit -n; grep elsewhere /etc/hosts >&2; exit 3"];
  done = await started.exec(words, { user: "alice", workingDir: "/tmp", env: { MORE: "more" } });
  assert.deepEqual([done.exitCode, done.stdout], [3, "said more\n/tmp\n1000\n256\n"]);
  assert.match(done.stderr, /^192\.0\.2\.9\s+elsewhere\n$/);
  await started.copyContentToContainer([{ content: "later\n", target: "/data/later" }]);
  const archive = await whole(await started.copyArchiveFromContainer("/data/later"));
  assert.ok(archive.includes("later\n") && archive.length % 512 === 0);
  for await (const line of await started.logs({ tail: 1 })) {
    assert.match(String(line), /ready to serve/);
    break; // it follows
  }
  const image = await started.commit({ repo: "node-committed", tag: "1", deleteOnExit: false });
  assert.match(image, /^sha256:/);
  return started.getId();
}

async function networks() {
  const network = await new Network().start();
  const first = await new GenericContainer("box")
    .withNetwork(network)
    .withNetworkAliases("first")
    .withExposedPorts(7000)
    .withHealthCheck({ test: ["CMD", "true"], interval: 300, timeout: 1000, retries: 5, startPeriod: 100 })
    .withWaitStrategy(Wait.forHealthCheck())
    .withCommand(["nc", "-ll", "-p", "7000", "-e", "echo", "served"])
    .start();
  const second = await new GenericContainer("box").withNetwork(network).withCommand(["sleep", "600"]).start();
  assert.equal((await second.exec("nc first 7000")).stdout, "served\n");
  // Not with a wait for a line of the log: dockerd may note the start after the first lines, which are passed over then.
  await first.restart({ timeout: 0 });
  assert.equal(await said(first.getHost(), first.getMappedPort(7000)), "served\n");
  assert.equal((await second.exec("nc first 7000")).stdout, "served\n");
  assert.deepEqual(second.getNetworkNames(), [network.getName()]);
  assert.match(second.getIpAddress(network.getName()), /^\d+\.\d+\.\d+\.\d+$/);
  const once = await new GenericContainer("box").withCommand(["true"]).withWaitStrategy(Wait.forOneShotStartup()).start();
  await once.stop({ timeout: 0 });
  const failing = new GenericContainer("box").withCommand(["false"]).withWaitStrategy(Wait.forOneShotStartup());
  await assert.rejects(failing.withStartupTimeout(5000).start());
}

async function build() {
  const steps = ["FROM box AS first", "ARG WORD=none", "COPY leaf /leaf", "RUN echo $WORD > /word", 'CMD ["sleep", "600"]'];
  fs.writeFileSync(path.join(place, "tree", "Dockerfile"), [...steps, "FROM first", ""].join("\n"));
  const building = GenericContainer.fromDockerfile(path.join(place, "tree")).withBuildArgs({ WORD: "built" });
  const image = await building.withTarget("first").build();
  const started = await image.start();
  assert.equal((await started.exec("cat /word /leaf")).stdout, "built\ngreen\n");
}

// The project is left to the reaper.
async function compose() {
  const text = "services:\n"
    + "  web: {image: box, command: nc -ll -p 7000 -e echo served, ports: ['7000'], volumes: ['kept:/v']}\n"
    + "  other: {image: box, command: sh -c 'echo up; exec sleep 600'}\nvolumes: {kept: {}}\n";
  fs.writeFileSync(path.join(place, "compose.yaml"), text);
  const project = new DockerComposeEnvironment(place, "compose.yaml");
  const up = await project.withWaitStrategy("other-1", Wait.forLogMessage("up")).up();
  const web = up.getContainer("web-1");
  assert.equal(await said(web.getHost(), web.getMappedPort(7000)), "served\n");
  assert.equal((await up.getContainer("other-1").exec("nc web 7000")).stdout, "served\n");
}

async function main() {
  setInterval(() => {}, 1000); // the library's connections keep no process awake
  fs.writeFileSync(path.join(place, "file"), "of the host\n");
  fs.mkdirSync(path.join(place, "tree"));
  fs.writeFileSync(path.join(place, "tree", "leaf"), "green\n");
  const id = await server();
  await networks();
  await build();
  if (process.argv[3] === "compose") await compose();
  const reaper = await getReaper(await getContainerRuntimeClient());
  console.log(JSON.stringify({ server: id, reaper: reaper.containerId }));
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
