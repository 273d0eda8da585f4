#!/usr/bin/env bash
# Finds the servers that tests start for themselves, PostgreSQL and Redis, and installs Debian's packages where that is
# wanted. None is started, and none is left to start by itself.
#
# usage: services.sh
#
# Prints two lines: the folder of PostgreSQL's programs, and where redis-server is. Ends with 77 where one is missing:
# as root in CI, or with TIDEGATE_INSTALL=1, it installs them instead.
set -euo pipefail
[ $# -eq 0 ] || { sed -n 's/^# usage: /usage: /p' "$0" >&2; exit 2; }

# Debian keeps PostgreSQL's programs out of the path, a folder a version; the newest counts.
postgres() {
    local found
    found="$(find /usr/lib/postgresql -mindepth 3 -maxdepth 3 -path '*/bin/initdb' 2>/dev/null | sort -V | tail -n 1)"
    [ -n "$found" ] || found="$(command -v initdb || true)"
    [ -z "$found" ] || dirname "$found"
}

redis() {
    command -v redis-server || true
}

missing() {
    local names=()
    [ -n "$(postgres)" ] || names+=(postgresql)
    [ -n "$(redis)" ] || names+=(redis-server)
    echo "${names[*]:-}"
}

install() {
    # One at a time, where several test programs start at once.
    exec 9<"${BASH_SOURCE[0]}"
    flock 9
    local names policy=/usr/sbin/policy-rc.d made=""
    read -ra names <<<"$(missing)"
    [ ${#names[@]} -gt 0 ] || return 0
    # No cluster is made and nothing is started: tests have clusters of their own, in folders of their own.
    mkdir -p /etc/postgresql-common
    [ -e /etc/postgresql-common/createcluster.conf ] ||
        echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        made=1
    fi
    local status=0
    { apt-get update -qq &&
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${names[@]}"; } >&2 || status=$?
    [ -z "$made" ] || rm -f "$policy"
    return "$status"
}

if [ -n "$(missing)" ] && [ "$(id -u)" -eq 0 ] && [ -n "${CI:-}${TIDEGATE_INSTALL:-}" ] && command -v apt-get >/dev/null
then
    install
fi
if [ -n "$(missing)" ]; then
    echo "SKIPPED: no $(missing): install Debian's packages (as root: TIDEGATE_INSTALL=1 $0)" >&2
    exit 77
fi
postgres
redis
