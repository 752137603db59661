"""Which images set which variables: names that a variable's own name does not give away, and variables of helpers."""

from __future__ import annotations

import re

# Variable or its stem (what is before _VERSION, _MAJOR, _HOME) to the repository whose images set it. A stem that is the
# repository's own name needs no line here.
REPOSITORIES = {
    "_BASH": "bash",
    "ARANGO": "arangodb",
    "CATALINA_HOME": "tomcat",
    "CLOJURE_CLI": "clojure",
    "CONFLUENT": "confluentinc/cp-kafka",
    "CONSUL": "hashicorp/consul",
    "DART_SDK": "dart",
    "DENO": "denoland/deno",
    "ES": "elasticsearch",
    "GHC": "haskell",
    "GOTOOLCHAIN": "golang",
    "GRAFANA": "grafana/grafana",
    "GRADLE_HOME": "gradle",
    "GROOVY_HOME": "groovy",
    "HTTPD_PREFIX": "httpd",
    "HY": "hylang",
    "JETTY_HOME": "jetty",
    "KEYCLOAK": "quay.io/keycloak/keycloak",
    "LEIN": "clojure",
    "LIBERTY": "websphere-liberty",
    "MAVEN_HOME": "maven",
    "MONGO": "mongo",
    "MOSQUITTO": "eclipse-mosquitto",
    "NATS_SERVER": "nats",
    "OPENRESTY": "openresty/openresty",
    "OTP": "erlang",
    "PG": "postgres",
    "PHPIZE_DEPS": "php",
    "PHP_INI_DIR": "php",
    "PS": "percona",
    "PWSH": "mcr.microsoft.com/powershell",
    "RAKUDO": "rakudo-star",
    "RETHINKDB_PACKAGE": "rethinkdb",
    "ROS_DISTRO": "ros",
    "RUSTUP_HOME": "rust",
    "R_BASE": "r-base",
    "SONAR": "sonarqube",
    "SWIFT_BRANCH": "swift",
    "TOMCAT": "tomcat",
    "VAULT": "hashicorp/vault",
    "ZOO_CONF_DIR": "zookeeper",
    "DOTNET": "mcr.microsoft.com/dotnet/runtime",
    "DOTNET_SDK": "mcr.microsoft.com/dotnet/sdk",
    "ASPNET": "mcr.microsoft.com/dotnet/aspnet",
}

# What images install beside what they are for: it never names them by itself.
HELPERS = frozenset(
    """ACME APACHE BUILDX BUNDLER CA_CERTIFICATES_JAVA COMPOSE DUMB_INIT DYNPKG GHOST_CLI GOSU GPG GLIBC JAVA_ALPINE
    JAVA_DEBIAN JSYAML LIBXML2 LUA LUAROCKS MYSQL_SHELL NEKO NGHTTP2 NJS NPM OPENSSL OSSP_UUID PGP PIP PKG PYTHON_PIP
    PYTHON_SETUPTOOLS PYTHON_GET_PIP PYTHON_WHEEL REBAR REBAR3 RUBYGEMS SETUPTOOLS S6_OVERLAY SU_EXEC TINI WHEEL YARN
    PHP_EXTENSIONS XDEBUG PNPM POETRY UV""".split()
)
# Stems that say nothing of what a thing is.
EMPTY = frozenset(
    """APP APPLICATION API BASE BUILD BUILDER CI COMMIT CONTAINER DEB DISTRO DOCKER_IMAGE FILE GIT IMAGE LATEST OS
    PACKAGE PRODUCT PROJECT RELEASE REPO SCHEMA SCRIPT SERVICE SERVER SOFTWARE SOURCE SW TARGET TOOL VCS""".split()
)
# Repositories whose images often end without a command of their own, so that what is built on them shows no seam there.
WITHOUT_COMMAND = frozenset("golang rust gcc buildpack-deps swift dart eclipse-temurin openjdk java haskell".split())

# Whose Java is at a JAVA_HOME of this form.
_JAVA = (
    (re.compile(r"corretto"), "amazoncorretto"),
    (re.compile(r"sapmachine"), "sapmachine"),
    (re.compile(r"zulu"), "azul-zulu"),
    (re.compile(r"/opt/ibm/java"), "ibmjava"),
    (re.compile(r"^/opt/java/openjdk"), "eclipse-temurin"),
    (re.compile(r"openjdk|java-\d+|docker-java-home"), "openjdk"),
)


def of_java(home: str, steps: str) -> str:
    """Return the repository whose images have Java at `home`, "" when that tells nothing; `steps`: what built it."""
    for pattern, repository in _JAVA:
        if pattern.search(home):
            if repository == "eclipse-temurin" and re.search(r"semeru|openj9", steps, re.IGNORECASE):
                return "ibm-semeru-runtimes"
            return repository
    return ""
