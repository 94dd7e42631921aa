# Debian packages by apt, without installing any: sourced by fetch and fetch-bpftrace, which name the working folder in $VM.
#
# Each suite gets a private set of lists below $VM/apt, so the machine's own sources are left alone.
#
# Environment: MEMQL_MIRROR, MEMQL_SECURITY (Debian mirrors; default: those that this machine's apt uses)
#              MEMQL_APT (reuse lists that are at most so many minutes old, default 720)
# shellcheck shell=bash

mirror_of() { apt-get indextargets --format '$(REPO_URI)' 2>/dev/null | sort -u | grep -E "$1" | head -1 || true; }
MIRROR=${MEMQL_MIRROR:-$(mirror_of '/debian/?$')}
SECURITY=${MEMQL_SECURITY:-$(mirror_of '/debian-security/?$')}
[ -n "$MIRROR" ] || { echo "fetch: apt names no Debian mirror; run apt-get update, or set MEMQL_MIRROR" >&2; exit 1; }

apt_options() { # suite: options of its private apt state
  local d=$VM/apt/$1
  echo "-o Dir::State::Lists=$d/lists -o Dir::Etc::SourceList=$d/sources.list -o Dir::Etc::SourceParts=/dev/null" \
    "-o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o Acquire::Languages=none" \
    "-o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false"
}

refresh() { # suite: make its lists if they are missing or old
  local d=$VM/apt/$1
  mkdir -p "$d/lists/partial"
  [ -z "$(find "$d/stamp" -mmin -"${MEMQL_APT:-720}" 2>/dev/null)" ] || return 0
  {
    echo "deb $MIRROR $1 main"
    case $1 in bullseye | bookworm | trixie) [ -z "$SECURITY" ] || echo "deb $SECURITY $1-security main" ;; esac
  } >"$d/sources.list"
  # shellcheck disable=SC2046 # the options are words
  apt-get -q $(apt_options "$1") update >"$d/update.log" 2>&1 || { cat "$d/update.log" >&2; return 1; }
  touch "$d/stamp"
}
