#!/bin/sh
# fetch.sh FOLDER: Redis' own test suite (BSD-3) from the source package of Debian's redis-server. Nothing is compiled.
set -eu
folder=${1:?folder}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/parts"
for sources in /etc/apt/sources.list.d/*.sources; do
  sed 's/^Types: deb$/Types: deb-src/' "$sources" > "$work/parts/$(basename "$sources")"
done
apt() {
  apt-get -qq -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$work/parts" -o "Dir::State::lists=$work/lists" \
    -o APT::Sandbox::User=root "$@"
}
version=$(dpkg-query -W -f '${source:Version}' redis-server | sed 's/^[0-9]*://')
apt update
(cd "$work" && apt source --download-only "redis=5:$version" > /dev/null)
mkdir -p "$folder/src"
tar xzf "$work"/redis_*.orig.tar.gz -C "$folder" --strip-components=1 --wildcards '*/tests' '*/runtest' '*/COPYING' '*/utils'
for program in redis-cli redis-benchmark; do ln -sf "$(command -v $program)" "$folder/src/$program"; done
