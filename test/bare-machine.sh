#!/bin/bash
# Proves the README's two commands on a machine that has Debian's base, Node, npm and git, and nothing else: no Java, Maven,
# Python or FFmpeg, no network the second time. Needs root on Debian, as it makes a root file system of the installed packages.
# Where that can't be made, it says so and is skipped.
# usage: test/bare-machine.sh [FOLDER]; the folder is removed at the end
set -euo pipefail
cd "$(dirname "$0")/.."
checkout=$PWD
skip() { echo "bare-machine: skipped, as $1"; exit 0; }
# A blank and a letter beyond ASCII, as people have them.
project='/home/ann/vidéo pipeline'

# Everything runs in namespaces of its own: what is mounted or left running ends with this script.
if [ -z "${BARE_INSIDE:-}" ]; then
  [ "$(id -u)" = 0 ] || skip 'it needs root'
  command -v dpkg-query >/dev/null || skip 'it needs Debian'
  unshare --mount --pid --net --fork true 2>/dev/null || skip 'this container may not make namespaces'
  # /tmp may be small.
  root=${1:-$(mktemp -d "${TMPDIR:-/var/tmp}/bare-machine.XXXXXX")}
  status=0
  BARE_INSIDE=1 unshare --mount --pid --fork --kill-child "$0" "$root" || status=$?
  rm -rf --one-file-system "$root"
  exit "$status"
fi
root=$1

# The packages that every Debian has, and those that git needs.
packages() {
  dpkg-query -W -f '${Package}\t${Essential}\t${Priority}\n' | awk '$2 == "yes" || $3 == "required" || $2 == "required" { print $1 }'
  echo git ca-certificates
}
closure() {
  local all='' next
  next=$(packages)
  while [ -n "$next" ]; do
    all=$(printf '%s\n' $all $next | sort -u)
    next=$(dpkg-query -W -f '${Pre-Depends}, ${Depends}\n' $next 2>/dev/null | tr ',|' '\n\n' | awk 'NF { sub(/:.*/, "", $1); print $1 }' |
      sort -u | comm -13 <(printf '%s\n' $all) -)
    next=$(for name in $next; do dpkg-query -W -f '${Package}\n' "$name" 2>/dev/null || true; done | sort -u | comm -13 <(printf '%s\n' $all) -)
  done
  printf '%s\n' $all
}

echo "bare-machine: a root file system in $root"
chmod 755 "$root"
mkdir -p "$root"/{proc,dev/shm,tmp,root,run,var/tmp,etc,usr/bin,usr/sbin,usr/lib,usr/lib64,"$project"}
for link in bin sbin lib lib64; do [ -L "/$link" ] && cp -a "/$link" "$root/"; done
closure | grep -v -E '^(python|perl-doc|openjdk|default-jre)' | xargs dpkg-query -L 2>/dev/null | grep -v -E '^/usr/share/(doc|man|locale|info)/' | sort -u |
  while read -r path; do [ -d "$path" ] && [ ! -L "$path" ] || printf '%s\0' "${path#/}"; done |
  tar -C / --null --ignore-failed-read -T - -cf - 2>/dev/null | tar -C "$root" -xf - 2>/dev/null || true
# Node as it is installed here, with npm.
cp -L "$(command -v node)" "$root/usr/bin/node"
mkdir -p "$root/usr/lib/node_modules"
cp -a "$(dirname "$(dirname "$(readlink -f "$(command -v npm)")")")" "$root/usr/lib/node_modules/"
ln -sf ../lib/node_modules/npm/bin/npm-cli.js "$root/usr/bin/npm"
# This machine's own settings: names, authorities, registries.
cp -L /etc/resolv.conf "$root/etc/"
cp -a /etc/ssl "$root/etc/"
for file in /usr/etc/npmrc /etc/pip.conf; do [ -f "$file" ] && mkdir -p "$root${file%/*}" && cp "$file" "$root$file"; done
[ -f ~/.npmrc ] && cp ~/.npmrc "$root/home/ann/.npmrc"
printf 'root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/bash\n' > "$root/etc/passwd"
printf 'root:x:0:\nann:x:1000:\n' > "$root/etc/group"
printf '127.0.0.1 localhost\n' > "$root/etc/hosts"
git -C "$checkout" ls-files -z --cached --others --exclude-standard | tar -C "$checkout" --null -T - -cf - | tar -C "$root$project" -xf -
chown -R 1000:1000 "$root/home/ann"
chmod 1777 "$root/tmp" "$root/var/tmp"

mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
for device in null zero random urandom tty full; do touch "$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"; done
ln -sf /proc/self/fd "$root/dev/fd"

environment=(PATH=/usr/bin:/bin LC_ALL=C TERM=dumb)
turkish=(LC_ALL=tr_TR.UTF-8 'JAVA_TOOL_OPTIONS=-Duser.language=tr -Duser.country=TR')
while IFS= read -r line; do environment+=("$line"); done < <(env | grep -i -E '^(https?_proxy|no_proxy|npm_config_registry|PIP_[A-Z_]+|NODE_EXTRA_CA_CERTS|SSL_CERT_(FILE|DIR))=' || true)
as_ann() { chroot --userspec=1000:1000 "$root" env -i "${environment[@]}" "$@"; }

as_ann true
as_ann npm --version >/dev/null 2>&1 || skip 'the npm or Node of this machine needs more than its own folder'
for program in java mvn python3 ffmpeg docker; do
  ! as_ann sh -c "command -v $program" || { echo "bare-machine: $program is there"; exit 1; }
done

expect_frames() {
  tail -n 1 "$1" | as_ann node -e "
    const total = JSON.parse(require('fs').readFileSync(0, 'utf8')).frames.total;
    console.log('bare-machine:', JSON.stringify(total));
    process.exit(total.annotated === 60 && total.failed === 0 ? 0 : 1);"
}

echo '== with a network: npm install && npm start -- --frames 60 --json'
as_ann HOME=/home/ann sh -c "cd '$project' && npm install --no-audit --no-fund" > "$root/install" 2>&1 || { cat "$root/install"; exit 1; }
cat "$root/install"
if grep -i -E 'EBADENGINE|Unknown .*config|deprecat' "$root/install"; then echo 'bare-machine: npm install is not silent'; exit 1; fi
as_ann HOME=/home/ann sh -c "cd '$project' && npm start -- --ports auto --frames 60 --json" > "$root/first"
expect_frames "$root/first"

echo '== without a network, a read-only checkout, localhost as ::1, no HOME, in Turkish'
printf '::1 localhost\n' > "$root/etc/hosts"
mount --bind "$root$project" "$root$project"
mount -o remount,ro,bind "$root$project"
export -f as_ann
# Debian's base has Perl, but neither ip nor ifconfig. SIOCSIFFLAGS with IFF_UP and IFF_RUNNING:
export LO_UP='$lo = pack("a16sx22", "lo", 0x41); socket(S, PF_INET, SOCK_DGRAM, 0) && ioctl(S, 0x8914, $lo) or die "lo: $!\n"'
unshare --net bash -c '
  perl -MSocket -e "$LO_UP"
  root=$1; shift; project=$1; shift; environment=("$@")
  as_ann sh -c "cd \"$project\" && npm start -- --ports auto --frames 60 --json --offline --data-dir /tmp/dätä"' \
  bare "$root" "$project" "${environment[@]}" "${turkish[@]}" > "$root/second"
expect_frames "$root/second"
echo 'bare-machine: both starts annotated 60 frames'
