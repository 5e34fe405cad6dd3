# shellcheck shell=bash
# What the scripts share: where things lie, who runs the server, how a process is tracked and ended.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)

# An instance is one private cluster with what belongs to it. The unnamed one is the demo's; tests name theirs.
instance=${BATCHCORTEX_INSTANCE:-}
run=$root/.run${instance:+/$instance}

case ${CARGO_TARGET_DIR:-target} in
  /*) target=$CARGO_TARGET_DIR ;;
  *) target=$root/${CARGO_TARGET_DIR:-target} ;;
esac
pg_config=${PG_CONFIG:-/usr/lib/postgresql/15/bin/pg_config}

export CARGO_TARGET_DIR=$target
# Every call of cargo must name the same pg_config in the same way, or the bindings are generated anew each time.
export PGRX_HOME=$target/pgrx PGRX_PG_CONFIG_PATH=$pg_config
export PATH=$root/.run/tools/bin:$PATH
export LC_ALL=C.UTF-8

say() { printf '==> %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2 && exit 1; }

# The package that `scripts/build` makes: a tree that mirrors the directories of pg_config.
pg_major() { "$pg_config" --version | sed -E 's/^PostgreSQL ([0-9]+).*/\1/'; }
package_dir() { printf '%s/package/pg%s\n' "$target" "$(pg_major)"; }

# The server's user: PostgreSQL refuses to run as root.
server_user=
if [ "$(id -u)" = 0 ]; then server_user=postgres; fi

# Runs a command as the server's user, in an environment of its own: no PG* setting of the caller leaks in, and
# RUST_BACKTRACE, which would send backtraces to clients, stays out.
as_server() {
  local clean=(env -i PATH=/usr/local/bin:/usr/bin:/bin LC_ALL=C.UTF-8 TZ=UTC "HOME=$base")
  if [ -n "$server_user" ]; then
    (cd / && exec runuser -u "$server_user" -- "${clean[@]}" "$@")
  else
    (cd / && exec "${clean[@]}" "$@")
  fi
}

# Finds the directory that clusters live in: .run itself, unless the server's user cannot enter it (a checkout
# below a private home) or the path would be too long for a Unix socket (107 bytes). Then it is a directory of a
# random name that .run/place points to. Sets: base (of the checkout), place (of the instance), pgdata.
find_place() {
  local parent
  mkdir -p "$run"
  base=$root/.run
  if [ -n "$server_user" ] && ! runuser -u "$server_user" -- test -x "$base"; then
    base=
  elif [ "${#root}" -gt 44 ]; then
    base=
  fi
  if [ -z "$base" ]; then
    base=$(readlink "$root/.run/place" 2>/dev/null || true)
    if [ -z "$base" ] || [ ! -d "$base" ] || [ ! -O "$base" ]; then
      for parent in /var/tmp /tmp; do
        if base=$(mktemp -d "$parent/batchcortex.XXXXXXXX" 2>/dev/null); then break; fi
      done
      [ -n "$base" ] || die "no directory that the server's user can reach: neither /var/tmp nor /tmp is writable"
      chmod 0711 "$base"
      ln -sfn "$base" "$root/.run/place"
    fi
  fi
  place=$base${instance:+/$instance}
  mkdir -p "$place"
  pgdata=$place/pgdata
}

# Processes. A pid file holds the pid and the time at which that process started, so that a pid which another
# process has got since is never taken for ours.
started_at() { sed -E 's/^.*\) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

tracked() { # NAME: prints the pid when the process that the file names still runs
  local pid since
  read -r pid since 2>/dev/null <"$run/$1.pid" || return 1
  [ -n "$since" ] && [ "$(started_at "$pid")" = "$since" ] && printf '%s\n' "$pid"
}

launch() { # NAME COMMAND…: starts it in a session of its own, output to .run/NAME.log
  local name=$1
  shift
  setsid "$@" </dev/null >>"$run/$name.log" 2>&1 9>&- &
  printf '%s %s\n' "$!" "$(started_at "$!")" >"$run/$name.pid"
}

end() { # NAME: asks the process to end, and ends it when it has not after 20 s
  local pid tries=0
  if pid=$(tracked "$1"); then
    kill -TERM "$pid" 2>/dev/null || true
    while tracked "$1" >/dev/null; do
      tries=$((tries + 1))
      if [ "$tries" -gt 200 ]; then kill -KILL "$pid" 2>/dev/null || true; fi
      sleep 0.1
    done
  fi
  rm -f "$run/$1.pid"
}

# The postmaster of this instance: only a process whose directory is our data directory counts.
postmaster() {
  local pid
  pid=$(head -n 1 "$pgdata/postmaster.pid" 2>/dev/null) || return 1
  [ "$(readlink "/proc/$pid/cwd" 2>/dev/null)" = "$(readlink -f "$pgdata")" ] && printf '%s\n' "$pid"
}

at_work() { # whether any process has the data directory as its own
  local cwd
  for cwd in /proc/[0-9]*/cwd; do
    if [ "$(readlink "$cwd" 2>/dev/null)" = "$(readlink -f "$pgdata")" ]; then return 0; fi
  done
  return 1
}

stop_postmaster() {
  if postmaster >/dev/null; then
    as_server "$(private "$("$pg_config" --bindir)")/pg_ctl" -D "$pgdata" -m fast -w -t 60 stop >/dev/null
  fi
}

# PostgreSQL finds its library and share directories relative to its own program file. A copy of the programs, with
# links to everything else, is therefore an installation of its own: the extension goes there, and neither root nor
# a change to the system's PostgreSQL is needed to run it. Such a directory is the system's, moved: private DIRECTORY.
common_prefix() { # two absolute paths
  local a=$1/ b=$2/ out=/ part
  while part=${a#"$out"} && part=${part%%/*} && [ -n "$part" ] && [[ $b == "$out$part/"* ]]; do out=$out$part/; done
  printf '%s\n' "${out%/}"
}
private() { # DIRECTORY, one of pg_config's
  local all
  all=$(common_prefix "$(common_prefix "$("$pg_config" --bindir)" "$("$pg_config" --pkglibdir)")" "$("$pg_config" --sharedir)")
  printf '%s\n' "$base/server${1#"$all"}"
}

free_port() { # prints a port of 127.0.0.1 that nothing listens on, below the range that the kernel hands out
  local port tries
  for tries in $(seq 50); do
    port=$((20000 + (RANDOM * 32768 + RANDOM) % 10000))
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      printf '%s\n' "$port"
      return
    fi
  done
  die "no free port between 20000 and 29999 after $tries tries"
}

secret() { # NAME BYTES: prints a secret kept in .run/secrets, made the first time
  local file=$run/secrets/$1
  (umask 077 && mkdir -p "$run/secrets")
  if [ ! -s "$file" ]; then
    (umask 077 && head -c "$2" /dev/urandom | base64 -w0 | tr '+/' '-_' | tr -d '=' >"$file")
  fi
  cat "$file"
}
