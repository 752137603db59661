"""Dockerfiles as people write them, by language and pattern; their bases are `box` with scripts in the "
"place of tools."""

from __future__ import annotations

from dataclasses import dataclass

from .cases import Case, Item, archive, executable

TOOL = (
    "FROM box\n"
    "RUN mkdir -p /usr/local/bin /usr/share/nginx/html /etc/nginx/conf.d && printf '%s\\n' '#!/bin/sh' "
    "'while test $# -gt 0; do case $1 in -o) mkdir -p $(dirname $2); echo made > $2; chmod 755 $2;; esac; shift; done' "
    "> /usr/local/bin/tool && chmod 755 /usr/local/bin/tool && for t in {tools}; do ln -s tool "
    "/usr/local/bin/$t; done\n"
    "{more}"
)


@dataclass(frozen=True)
class Kind:
    """A kind of Dockerfile: its language and pattern, what it is about in words, and the case."""

    language: str
    pattern: str
    features: str
    case: Case


def base(tools: str, more: str = "") -> str:
    """Return the Dockerfile of a base image with some tools that do nothing but make what `-o` names."""
    return TOOL.format(tools=tools, more=more)


def kind(
    language: str,
    pattern: str,
    features: str,
    bases: dict[str, str],
    dockerfile: str,
    files: dict[str, str | bytes | Item] | None = None,
    flags: tuple[str, ...] = (),
) -> Kind:
    given: dict[str, Item | str | bytes] = {"README.md": "read me\n", **(files or {})}
    return Kind(
        language,
        pattern,
        features,
        Case(
            f"{language} {pattern}".lstrip("."),
            dockerfile,
            given,
            flags,
            before=bases,
            stubs=("/root", "/root/.cache", "/app"),
        ),
    )


GO = {"golang:1.25": base("go git", "ENV GOPATH=/go\nENV PATH=/go/bin:/usr/local/go/bin:$PATH\nWORKDIR /go\n")}
NODE = {
    "node:22": base(
        "node npm yarn pnpm", 'ENV NODE_VERSION=22.1.0\nENTRYPOINT ["docker-entrypoint.sh"]\nCMD ["node"]\n'
    )
}
PYTHON = {"python:3.13": base("python pip uv poetry", 'ENV LANG=C.UTF-8 PYTHON_VERSION=3.13\nCMD ["python3"]\n')}
JAVA = {
    "maven:3": base("mvn java jlink", "WORKDIR /root\n"),
    "temurin:21": base("java", "ENV JAVA_HOME=/opt/java PATH=/opt/java/bin:$PATH\n"),
}
NGINX = {"nginx:1": base("nginx", 'EXPOSE 80\nSTOPSIGNAL SIGQUIT\nCMD ["nginx", "-g", "daemon off;"]\n')}
WEB: dict[str, str | bytes | Item] = {
    "package.json": "{}\n",
    "package-lock.json": "{}\n",
    "src/index.js": "1\n",
    "public/index.html": "<html>\n",
    ".dockerignore": "node_modules\n*.md\n",
}

KINDS = (
    kind(
        "Go",
        "static binary on scratch",
        "two stages, cache mounts, ARG into -ldflags, USER by number",
        GO,
        "FROM golang:1.25 AS build\nWORKDIR /src\nCOPY go.mod go.sum ./\n"
        "RUN --mount=type=cache,target=/go/pkg/mod go mod download\nCOPY . .\nARG VERSION=dev\n"
        "RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache "
        'CGO_ENABLED=0 go build -ldflags "-X main.version=$VERSION" -o /out/app ./cmd/app\n'
        'FROM scratch\nCOPY --from=build /out/app /app\nUSER 65532:65532\nEXPOSE 8080\nENTRYPOINT ["/app"]\n',
        {"go.mod": "module x\n", "go.sum": "", "cmd/app/main.go": "package main\n"},
        ("--build-arg", "VERSION=1.2.3"),
    ),
    kind(
        "Go",
        "cross compilation",
        "FROM --platform=$BUILDPLATFORM, TARGETOS and TARGETARCH",
        GO,
        "FROM --platform=$BUILDPLATFORM golang:1.25 AS build\nARG TARGETOS TARGETARCH\nWORKDIR /src\nCOPY . .\n"
        "RUN GOOS=$TARGETOS GOARCH=$TARGETARCH go build -o /out/$TARGETOS/$TARGETARCH/app .\n"
        "FROM scratch\nARG TARGETOS\nARG TARGETARCH\nCOPY --from=build /out/${TARGETOS}/${TARGETARCH}/ /\n",
        {"main.go": "package main\n"},
    ),
    kind(
        "Go",
        "tests as a stage",
        "a stage that only --target runs, LABEL from ARG, HEALTHCHECK",
        GO,
        "FROM golang:1.25 AS base\nWORKDIR /src\nCOPY . .\nFROM base AS test\n"
        "RUN go vet ./... && go test ./... > /report\n"
        "FROM base AS build\nRUN go build -o /app .\nFROM box\nARG REVISION=none\n"
        'LABEL org.opencontainers.image.revision="$REVISION"\nCOPY --from=build /app /usr/bin/app\n'
        'HEALTHCHECK --interval=30s --timeout=3s --retries=2 CMD ["app", "ping"]\nCMD ["app"]\n',
        {"main.go": "package main\n"},
    ),
    kind(
        "Node.js",
        "npm ci in two stages",
        "lock file first, .dockerignore, chown at COPY, USER by name",
        NODE,
        "FROM node:22 AS deps\nWORKDIR /app\nCOPY package*.json ./\n"
        "RUN npm ci --omit=dev && mkdir -p node_modules/x\n"
        "FROM node:22\nENV NODE_ENV=production\nWORKDIR /app\nRUN chown alice:alice /app\nUSER alice\n"
        "COPY --chown=alice:alice --from=deps /app/node_modules ./node_modules\nCOPY --chown=alice . .\nEXPOSE 3000\n"
        'CMD ["node", "src/index.js"]\n',
        WEB,
    ),
    kind(
        "Node.js",
        "pnpm with bind mounts",
        "RUN --mount=type=bind of single files, SHELL, ENV that uses ENV",
        NODE,
        'FROM node:22\nENV PNPM_HOME="/pnpm"\nENV PATH="$PNPM_HOME:$PATH"\nSHELL ["/bin/sh", "-ec"]\nWORKDIR /app\n'
        "RUN --mount=type=bind,source=package.json,target=package.json "
        "--mount=type=bind,source=package-lock.json,target=package-lock.json "
        "--mount=type=cache,id=pnpm,target=/pnpm/store pnpm install; mkdir -p node_modules\nCOPY src ./src\n"
        "CMD node src/index.js\n",
        WEB,
    ),
    kind(
        "Node.js",
        "Next.js standalone",
        "COPY of several trees from one stage, ENV PORT, two ARGs with ENV",
        NODE,
        "FROM node:22 AS builder\nWORKDIR /app\nCOPY . .\nARG NEXT_PUBLIC_API\nENV NEXT_PUBLIC_API=$NEXT_PUBLIC_API\n"
        "RUN npm run build && mkdir -p .next/standalone .next/static && echo $NEXT_PUBLIC_API > "
        ".next/standalone/server.js\n"
        "FROM node:22 AS runner\nWORKDIR /app\nENV NODE_ENV=production PORT=3000\n"
        "COPY --from=builder /app/public ./public\nCOPY --from=builder --chown=1001:1001 /app/.next/standalone ./\n"
        "COPY --from=builder --chown=1001:1001 /app/.next/static ./.next/static\nUSER 1001\n"
        'CMD ["node", "server.js"]\n',
        WEB,
        ("--build-arg", "NEXT_PUBLIC_API=https://api.example"),
    ),
    kind(
        "JavaScript",
        "single page behind nginx",
        "nginx.conf by heredoc, files of a stage into a web root",
        {**NODE, **NGINX},
        "FROM node:22 AS build\nWORKDIR /app\nCOPY . .\n"
        "RUN npm run build; mkdir -p dist/assets; echo x > dist/index.html; "
        "touch dist/assets/a.js\nFROM nginx:1\nCOPY <<EOF /etc/nginx/conf.d/default.conf\nserver {\n"
        "  listen 80;\n  location / { try_files \\$uri /index.html; }\n}\nEOF\n"
        "COPY --from=build /app/dist /usr/share/nginx/html\n",
        WEB,
    ),
    kind(
        "HTML",
        "static site",
        "one COPY, base with CMD and EXPOSE",
        NGINX,
        "FROM nginx:1\nCOPY public/ /usr/share/nginx/html/\nRUN chmod -R a+rX /usr/share/nginx/html\n",
        WEB,
    ),
    kind(
        "Python",
        "pip and requirements",
        "ENV pairs, requirements first, gunicorn CMD, EXPOSE from ARG",
        PYTHON,
        "FROM python:3.13\nENV PYTHONDONTWRITEBYTECODE=1 \\\n    PYTHONUNBUFFERED=1\nARG PORT=8000\nWORKDIR /app\n"
        "COPY requirements.txt .\nRUN --mount=type=cache,target=/root/.cache pip install -r requirements.txt\n"
        'COPY . .\nEXPOSE $PORT\nCMD ["gunicorn", "app:app"]\n',
        {"requirements.txt": "flask\n", "app.py": "app = 1\n"},
    ),
    kind(
        "Python",
        "virtual environment copied",
        "two stages of one base, PATH with a venv, ENTRYPOINT and CMD",
        PYTHON,
        "FROM python:3.13 AS build\n"
        "RUN python -m venv /venv; mkdir -p /venv/bin /venv/lib; ln -s /usr/local/bin/python /venv/bin/\n"
        'ENV PATH="/venv/bin:$PATH"\nCOPY pyproject.toml .\nRUN pip install .\nFROM python:3.13\n'
        'COPY --from=build /venv /venv\nENV PATH="/venv/bin:$PATH"\nWORKDIR /srv\nCOPY app ./app\n'
        'ENTRYPOINT ["python", "-m"]\nCMD ["app"]\n',
        {"pyproject.toml": "[project]\n", "app/__init__.py": ""},
    ),
    kind(
        "Python",
        "uv from its image",
        "COPY --from of an image, bind and cache mounts together",
        {**PYTHON, "uv:latest": "FROM scratch\nCOPY README.md /uv\nCOPY README.md /uvx\n"},
        "FROM python:3.13\nCOPY --from=uv:latest /uv /uvx /bin/\nWORKDIR /app\nENV UV_LINK_MODE=copy\n"
        "RUN --mount=type=cache,target=/root/.cache --mount=type=bind,source=uv.lock,target=uv.lock "
        "--mount=type=bind,source=pyproject.toml,target=pyproject.toml test -f uv.lock && mkdir .venv\n"
        'ADD . /app\nRUN --mount=type=cache,target=/root/.cache ls > .venv/list\nCMD ["uv", "run", "app"]\n',
        {"pyproject.toml": "[project]\n", "uv.lock": ""},
    ),
    kind(
        "Python",
        "scientific, with build dependencies",
        "apt-get style RUN over many lines, VOLUME, comments inside",
        PYTHON,
        "FROM python:3.13\nRUN set -eux; \\\n    # what compilers need\n    mkdir -p /var/lib/apt/lists; \\\n"
        "    touch /usr/local/bin/gcc; \\\n    rm -rf /var/lib/apt/lists/*\nVOLUME /data /models\n"
        "WORKDIR /notebooks\n"
        'COPY notebooks/ .\nEXPOSE 8888\nCMD ["jupyter", "lab", "--ip=0.0.0.0"]\n',
        {"notebooks/a.ipynb": "{}"},
    ),
    kind(
        "Python",
        "AWS Lambda",
        "ARG in paths, ENV in COPY destination, CMD with a handler",
        PYTHON,
        'FROM python:3.13\nARG FUNCTION_DIR="/function"\nENV LAMBDA_TASK_ROOT=${FUNCTION_DIR}\n'
        "RUN mkdir -p ${FUNCTION_DIR}\n"
        "COPY requirements.txt ${LAMBDA_TASK_ROOT}\nCOPY app/* ${LAMBDA_TASK_ROOT}/\nWORKDIR ${FUNCTION_DIR}\n"
        'ENTRYPOINT [ "/usr/local/bin/python", "-m", "awslambdaric" ]\nCMD [ "app.handler" ]\n',
        {"requirements.txt": "", "app/app.py": "", "app/util.py": ""},
    ),
    kind(
        "Java",
        "Maven to a JRE",
        "pom.xml first, wildcard for the jar, JAVA_OPTS in shell form",
        JAVA,
        "FROM maven:3 AS build\nWORKDIR /workspace\nCOPY pom.xml .\n"
        "RUN --mount=type=cache,target=/root/.m2 mvn -B dependency:go-offline\n"
        "COPY src src\nRUN mvn package; mkdir target; echo jar > target/app-1.0.jar\nFROM temurin:21\n"
        'COPY --from=build /workspace/target/*.jar /app/app.jar\nENV JAVA_OPTS=""\n'
        "ENTRYPOINT exec java $JAVA_OPTS -jar /app/app.jar\n",
        {"pom.xml": "<p/>\n", "src/A.java": "class A {}\n"},
    ),
    kind(
        "Java",
        "Spring Boot layers",
        "a jar taken apart, one COPY for each layer",
        JAVA,
        "FROM temurin:21 AS builder\nWORKDIR /builder\nARG JAR_FILE=target/*.jar\nCOPY ${JAR_FILE} application.jar\n"
        "RUN for d in dependencies spring-boot-loader snapshot-dependencies application; do mkdir -p "
        "x/$d; touch x/$d/f; done\n"
        "FROM temurin:21\nWORKDIR /application\nCOPY --from=builder /builder/x/dependencies/ ./\n"
        "COPY --from=builder /builder/x/spring-boot-loader/ ./\n"
        "COPY --from=builder /builder/x/snapshot-dependencies/ ./\n"
        'COPY --from=builder /builder/x/application/ ./\nENTRYPOINT ["java", "-jar", "application.jar"]\n',
        {"target/demo.jar": "jar\n"},
    ),
    kind(
        "Java",
        "jlink on a small base",
        "a directory made in a stage, links and modes kept",
        JAVA,
        "FROM maven:3 AS jre\n"
        "RUN mkdir -p /jre/bin /jre/lib/server && echo j > /jre/bin/java && chmod 755 /jre/bin/java && "
        "ln -s ../lib/server /jre/bin/server && chmod 700 /jre/lib\nFROM box\nENV JAVA_HOME=/opt/jre\n"
        'ENV PATH "${JAVA_HOME}/bin:${PATH}"\nCOPY --from=jre /jre $JAVA_HOME\nUSER 1000:1000\n'
        'CMD ["java", "-version"]\n',
    ),
    kind(
        "Kotlin",
        "Gradle with a wrapper",
        "an executable from the context, ENV GRADLE_OPTS, ONBUILD base",
        {
            "gradle:8": base(
                "gradle", "WORKDIR /home/gradle\nONBUILD COPY gradle.properties .\nONBUILD RUN echo built > .on\n"
            )
        },
        "FROM gradle:8\nENV GRADLE_OPTS=-Dorg.gradle.daemon=false\n"
        "COPY gradlew build.gradle.kts ./\nRUN ./gradlew build\nCOPY src ./src\n"
        'CMD ["./gradlew", "run"]\n',
        {
            "gradlew": executable("#!/bin/sh\ntouch wrapped\n"),
            "build.gradle.kts": "",
            "gradle.properties": "a=b\n",
            "src/m.kt": "",
        },
    ),
    kind(
        "Scala",
        "sbt with a fat jar",
        "ARG before FROM, default and use in two stages",
        JAVA,
        "ARG JAVA=21\nFROM maven:3 AS build\nARG JAVA\nWORKDIR /b\nCOPY build.sbt .\n"
        "RUN echo $JAVA > java; mkdir out; touch out/app.jar\n"
        "FROM temurin:${JAVA}\nCOPY --from=build /b/out/app.jar /opt/\n"
        'COPY --from=build /b/java /opt/\nCMD ["java", "-jar", "/opt/app.jar"]\n',
        {"build.sbt": ""},
    ),
    kind(
        "Rust",
        "cargo with dummy sources",
        "RUN with a heredoc script, touch, a second COPY over the first",
        {"rust:1": base("cargo rustup", "ENV CARGO_HOME=/usr/local/cargo\n")},
        "FROM rust:1 AS build\nWORKDIR /usr/src/app\nCOPY Cargo.toml Cargo.lock ./\nRUN <<EOF\n"
        "set -e\nmkdir src\necho 'fn main() {}' > src/main.rs\n"
        "cargo build --release\nEOF\nCOPY src ./src\nRUN touch src/main.rs && cargo build -o target/release/app\n"
        'FROM box\nCOPY --from=build /usr/src/app/target/release/app /usr/local/bin/\nCMD ["app"]\n',
        {"Cargo.toml": "[package]\n", "Cargo.lock": "", "src/main.rs": "fn main() { }\n"},
    ),
    kind(
        "Rust",
        "cargo chef",
        "four stages, a recipe handed on",
        {"rust:1": base("cargo", "")},
        "FROM rust:1 AS chef\nWORKDIR /app\nFROM chef AS planner\nCOPY . .\nRUN cargo chef prepare -o recipe.json\n"
        "FROM chef AS builder\nCOPY --from=planner /app/recipe.json recipe.json\n"
        "RUN cargo chef cook --release\nCOPY . .\n"
        "RUN cargo build -o /app/target/app\nFROM box AS runtime\nWORKDIR /app\n"
        'COPY --from=builder /app/target/app /usr/local/bin\nENTRYPOINT ["/usr/local/bin/app"]\n',
        {"Cargo.toml": "", "src/main.rs": ""},
    ),
    kind(
        "C",
        "make to scratch",
        "ADD of a tar, a static program, LABELs over lines",
        {"gcc:14": base("gcc make", "")},
        "FROM gcc:14 AS build\nADD src.tar /usr/src/\nWORKDIR /usr/src/d\n"
        "RUN gcc -static -o /hello file\nFROM scratch\n"
        'LABEL maintainer="nobody" \\\n      version="1.0"\nCOPY --from=build /hello /\nCMD ["/hello"]\n',
        {"src.tar": archive()},
    ),
    kind(
        "C++",
        "CMake with ccache",
        "cache mount with an id and sharing=locked, ARG as a build type",
        {"gcc:14": base("cmake ninja", "")},
        "FROM gcc:14 AS build\nARG BUILD_TYPE=Release\nCOPY . /src\nWORKDIR /build\n"
        "RUN --mount=type=cache,id=ccache,target=/root/.cache,sharing=locked cmake "
        "-DCMAKE_BUILD_TYPE=$BUILD_TYPE -o /build/bin/app\n"
        "FROM box\nCOPY --from=build /build/bin /usr/local/bin\n",
        {"CMakeLists.txt": "", "main.cc": ""},
    ),
    kind(
        "PHP",
        "Composer and php-fpm",
        "COPY --from of a tool's image, chown -R in RUN, STOPSIGNAL",
        {
            "php:8-fpm": base("php docker-php-ext-install", "WORKDIR /var/www/html\nSTOPSIGNAL SIGQUIT\nEXPOSE 9000\n"),
            "composer:2": base("composer", ""),
        },
        "FROM php:8-fpm\nRUN docker-php-ext-install pdo_mysql\n"
        "COPY --from=composer:2 /usr/local/bin/tool /usr/bin/composer\n"
        "COPY composer.json composer.lock ./\nRUN composer install; mkdir -p vendor var\nCOPY . .\n"
        "RUN chown -R 33:33 var\nUSER 33\n",
        {"composer.json": "{}", "composer.lock": "{}", "public/index.php": "<?php\n"},
    ),
    kind(
        "PHP",
        "Apache with a document root",
        "ENV in a configuration by RUN, a2enmod style links",
        {
            "php:8-apache": base(
                "apache2-foreground",
                "ENV APACHE_CONFDIR=/etc/apache2\n"
                "RUN mkdir -p /etc/apache2/mods-available /etc/apache2/mods-enabled && touch "
                "/etc/apache2/mods-available/rewrite.load\n",
            )
        },
        "FROM php:8-apache\nENV APACHE_DOCUMENT_ROOT=/var/www/public\n"
        'RUN ln -s ../mods-available/rewrite.load $APACHE_CONFDIR/mods-enabled/ && echo "DocumentRoot '
        '${APACHE_DOCUMENT_ROOT}" > $APACHE_CONFDIR/site.conf\n'
        "COPY --chmod=0644 public/*.php $APACHE_DOCUMENT_ROOT/\n",
        {"public/index.php": "<?php\n", "public/a.php": ""},
    ),
    kind(
        "Ruby",
        "Bundler and Rails assets",
        "secrets for one step, several VOLUMEs, entrypoint script",
        {"ruby:3": base("bundle rails", "ENV GEM_HOME=/usr/local/bundle\n")},
        "FROM ruby:3\nWORKDIR /rails\nENV RAILS_ENV=production BUNDLE_DEPLOYMENT=1\n"
        "COPY Gemfile Gemfile.lock ./\nRUN bundle install && rm -rf ~/.bundle/\n"
        "COPY . .\n"
        "RUN --mount=type=secret,id=key SECRET_KEY_BASE_DUMMY=1 rails assets:precompile; mkdir -p "
        "tmp/pids storage log\n"
        'VOLUME ["/rails/storage", "/rails/log"]\nENTRYPOINT ["/rails/bin/docker-entrypoint"]\n'
        'EXPOSE 3000\nCMD ["./bin/rails", "server"]\n',
        {
            "Gemfile": "",
            "Gemfile.lock": "",
            "bin/docker-entrypoint": executable("#!/bin/sh\n"),
            "bin/rails": executable("#!/bin/sh\n"),
        },
    ),
    kind(
        ".NET",
        "restore, publish, run",
        "JSON COPY with blanks, ARG with a path, four stages by name",
        {
            "dotnet-sdk:9": base("dotnet", ""),
            "dotnet-aspnet:9": base("dotnet", "ENV ASPNETCORE_HTTP_PORTS=8080\nENV APP_UID=1654\n"),
        },
        "FROM dotnet-aspnet:9 AS base\nUSER $APP_UID\nWORKDIR /app\nEXPOSE 8080\nEXPOSE 8081\n"
        "FROM dotnet-sdk:9 AS build\nARG BUILD_CONFIGURATION=Release\nWORKDIR /src\n"
        'COPY ["My App/My App.csproj", "My App/"]\nRUN dotnet restore "./My App/My App.csproj"\n'
        'COPY . .\nWORKDIR "/src/My App"\nRUN dotnet build -o /app/build/app.dll\n'
        "FROM build AS publish\nRUN dotnet publish -o /app/publish/app.dll\nFROM base AS final\n"
        "WORKDIR /app\nCOPY --from=publish /app/publish .\n"
        'ENTRYPOINT ["dotnet", "app.dll"]\n',
        {"My App/My App.csproj": "<p/>", "My App/Program.cs": ""},
    ),
    kind(
        "Elixir",
        "a release",
        "ENV with quotes and blanks, COPY of globs, LANG",
        {"elixir:1": base("mix", "ENV LANG=C.UTF-8\n")},
        'FROM elixir:1 AS builder\nENV MIX_ENV="prod" ERL_FLAGS="+JPperf true"\nWORKDIR /app\n'
        "COPY mix.exs mix.loc[k] ./\nRUN mix deps.get\n"
        "COPY config/config.exs config/${MIX_ENV}.exs config/\nCOPY lib lib\n"
        "RUN mix release; mkdir -p _build/${MIX_ENV}/rel/app/bin; echo s > _build/prod/rel/app/bin/server\n"
        'FROM box\nWORKDIR "/app"\nRUN chown 65534 /app\nENV MIX_ENV="prod"\n'
        "COPY --from=builder --chown=65534:0 /app/_build/${MIX_ENV}/rel/app ./\nUSER 65534\n"
        'CMD ["/app/bin/server"]\n',
        {"mix.exs": "", "config/config.exs": "", "config/prod.exs": "", "lib/a.ex": ""},
    ),
    kind(
        "Haskell",
        "stack with a heredoc",
        "COPY of two heredocs, one quoted, into a directory",
        {"haskell:9": base("stack", "")},
        "FROM haskell:9 AS build\nCOPY <<stack.yaml <<'run.sh' /src/\nresolver: lts-$LTS\n"
        "stack.yaml\n#!/bin/sh\necho $HOME\nrun.sh\n"
        "WORKDIR /src\nRUN sh run.sh > out && stack -o /src/bin/app\nFROM box\n"
        "COPY --from=build /src/bin/app /src/out /opt/\n",
    ),
    kind(
        "Deno",
        "a runtime image",
        "USER before WORKDIR, COPY with --chown by name, EXPOSE udp",
        {"deno:2": base("deno", "ENV DENO_DIR=/deno-dir/\nRUN mkdir /deno-dir && chown alice /deno-dir\n")},
        "FROM deno:2\nEXPOSE 1993 5353/udp\nUSER alice\nWORKDIR /app\n"
        "COPY --chown=alice:alice deps.ts .\nRUN deno install; echo d > /deno-dir/x\n"
        "COPY --chown=alice . .\n"
        'CMD ["run", "--allow-net", "main.ts"]\n',
        {"deps.ts": "", "main.ts": ""},
    ),
    kind(
        "Shell",
        "a tool with an entrypoint",
        "lower case instructions, tabs, escape directive, continued comments",
        {},
        "# escape=`\nfrom box\nlabel	org.example.kind=tool\nrun mkdir -p /opt/tool `\n"
        "  # where it lives\n  && touch /opt/tool/a `\n  && touch /opt/tool/b\n"
        'copy	run.sh	/opt/tool/\nentrypoint	["/opt/tool/run.sh"]\ncmd	["--help"]\n',
        {"run.sh": executable("#!/bin/sh\n")},
    ),
    kind(
        "Databases",
        "initialisation scripts",
        "ENV defaults, ADD of a directory, chmod by COPY, HEALTHCHECK in shell form",
        {
            "postgres:17": base(
                "postgres pg_isready",
                "ENV PGDATA=/var/lib/postgresql/data\nVOLUME /var/lib/postgresql/data\n"
                'ENTRYPOINT ["docker-entrypoint.sh"]\nSTOPSIGNAL SIGINT\nCMD ["postgres"]\n',
            )
        },
        "FROM postgres:17\nENV POSTGRES_DB=app \\\n    POSTGRES_USER=app\n"
        "ADD initdb/ /docker-entrypoint-initdb.d/\nCOPY --chmod=755 wait.sh /usr/local/bin/wait\n"
        "HEALTHCHECK --start-period=10s --interval=5s CMD pg_isready -U $POSTGRES_USER || exit 1\n",
        {"initdb/01.sql": "select 1;\n", "initdb/02.sh": executable("#!/bin/sh\n"), "wait.sh": "#!/bin/sh\n"},
    ),
)
