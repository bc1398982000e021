#!/usr/bin/env bash
# Installs what building, testing and benchmarking needs and this machine lacks. Prints nothing when all is there.
#
#   scripts/setup.sh            everything
#   scripts/setup.sh build      only what compiling needs
#
# Debian and Ubuntu (apt), as root or with sudo. On other systems it says what to install. The AWS command line and the
# clients that tests run come from pip, into a virtual environment of its own that `make` puts on the PATH.
set -euo pipefail

scope=${1:-all}
tools=${ELASTICKV_TOOLS:-$HOME/.cache/elastickv/tools}
PATH="$tools/bin:$PATH"

fail() {
  echo "setup: $*" >&2
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# bindgen loads libclang while it compiles, from one of the places where distributions put it. Its C++ interface,
# libclang-cpp, is another library, and bindgen cannot use it.
have_libclang() {
  [ -n "${LIBCLANG_PATH:-}" ] && return 0
  local found
  found=$(find /usr/lib /usr/lib64 /usr/local/lib -maxdepth 3 \( -name 'libclang.so*' -o -name 'libclang-[0-9]*.so*' \) \
    -print -quit 2>/dev/null || true)
  [ -n "$found" ]
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif have sudo; then
    sudo "$@"
  else
    fail "run as root, or install sudo, or install by hand: ${packages[*]}"
  fi
}

packages=()
have c++ || packages+=(build-essential)
have_libclang || packages+=(libclang-dev)
have protoc || packages+=(protobuf-compiler)
have curl || packages+=(curl ca-certificates)
if [ "$scope" = all ]; then
  have redis-server || packages+=(redis-server)
  { have redis-cli && have redis-benchmark; } || packages+=(redis-tools)
  have etcd || packages+=(etcd-server)
  have etcdctl || packages+=(etcd-client)
  have jq || packages+=(jq)
  have tclsh || packages+=(tcl)
  have python3 || packages+=(python3 python3-venv)
fi

if [ ${#packages[@]} -gt 0 ]; then
  have apt-get || fail "no apt-get here; install what these Debian packages hold: ${packages[*]}"
  echo "setup: installing ${packages[*]}"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi

# What comes from pip: clients that tests run.
clients=$(cd "$(dirname "$0")/.." && pwd)/tests/compat/clients/requirements.txt
if [ "$scope" = all ] && ! { have aws && cmp -s "$clients" "$tools/requirements.txt"; }; then
  echo "setup: installing clients into $tools"
  if ! python3 -m venv "$tools" 2>/dev/null; then
    packages=(python3-venv)
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
    python3 -m venv "$tools"
  fi
  have aws || "$tools/bin/pip" install --quiet awscli
  "$tools/bin/pip" install --quiet --requirement "$clients"
  cp "$clients" "$tools/requirements.txt"
fi

if ! have cargo; then
  [ -x "$HOME/.cargo/bin/cargo" ] && fail "cargo is in ~/.cargo/bin but not on PATH: run '. ~/.cargo/env'"
  fail "no cargo: install Rust from https://rustup.rs; rust-toolchain.toml then picks the version"
fi
# rustup fetches the pinned toolchain on first use; without rustup the version must fit.
pinned=$(sed -n 's/^channel = "\(.*\)"/\1/p' "$(dirname "$0")/../rust-toolchain.toml")
actual=$(cargo --version | cut -d' ' -f2)
if [ "$(printf '%s\n%s\n' "$pinned" "$actual" | sort -V | head -n 1)" != "$pinned" ]; then
  fail "cargo is $actual, the project needs $pinned or later (rust-toolchain.toml)"
fi
for component in fmt clippy; do
  cargo "$component" --version >/dev/null 2>&1 || fail "cargo $component is missing: rustup component add rustfmt clippy"
done
