#!/usr/bin/env bash
# Runs tests/wireguard on the kernel's own WireGuard, and measures 10,000 peers on it: in an emulated machine with
# Debian's kernel, because a kernel may be built without WireGuard, and because this one can be thrown away. Prints what
# the tests say and a table of figures.
#
#   scripts/kernel-wireguard.sh [--tests | --figures] [--kvm]
#
# Needs no root once the programs are there. Emulated, everything takes ten to twenty times as long, so the figures are
# for comparing with what stands beside them; --kvm uses the processor, where there is a /dev/kvm that works.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null

readonly TREE="$PWD" WORK="$PWD/target/kernel-wireguard" AT_MOST_SECONDS=2400
export PATH="$PATH:/usr/sbin:/sbin"

source scripts/child.sh

usage() { echo "usage: scripts/kernel-wireguard.sh [--tests | --figures] [--kvm]" >&2 && exit 2; }

tests=yes figures=yes accelerator=tcg,thread=multi
for argument in "$@"; do
  case "$argument" in
    --tests) figures=no ;;
    --figures) tests=no ;;
    --kvm) accelerator=kvm ;;
    *) usage ;;
  esac
done
[[ $tests == yes || $figures == yes ]] || usage

finish() {
  local status=$?
  trap - EXIT INT TERM HUP
  set +e
  end_child
  exit "$status"
}
finish_at_the_end

step() { printf '\n=== [%d:%02d] %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$1"; }

# --- what is needed --------------------------------------------------------------------------------------------------

# Program and Debian package, of what runs here and of what goes into the machine.
readonly HERE="qemu-system-x86_64:qemu-system-x86 cpio:cpio zstd:zstd depmod:kmod jq:jq dpkg-deb:dpkg strip:binutils"
readonly INSIDE="busybox:busybox-static modprobe:kmod sh:dash bash:bash mount:mount unshare:util-linux
  nsenter:util-linux ip:iproute2 ss:iproute2 ping:iputils-ping sysctl:procps wg:wireguard-tools wg-quick:wireguard-tools
  wireguard-go:wireguard-go nft:nftables conntrack:conntrack timeout:coreutils"

check_programs() {
  local pair missing=()
  for pair in $HERE $INSIDE; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
  done
  if ((${#missing[@]})); then
    echo "Missing here: apt-get install --no-install-recommends$(printf ' %s' "${missing[@]}")" >&2
    echo "(qemu-system-x86 needs seabios besides, where recommended packages are left out)" >&2
    exit 1
  fi
}

# Debian's kernel for virtual machines, unpacked once; nothing of it is installed here.
unpack_kernel() {
  local package
  if compgen -G "$WORK/kernel/boot/vmlinuz-*" >/dev/null; then
    return
  fi
  package="$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ { print $2; exit }')"
  if [[ -z $package ]]; then
    echo "apt knows no linux-image-cloud-amd64: this needs Debian's packages, and apt-get update" >&2
    exit 1
  fi
  rm -f -- "$WORK"/linux-image-*.deb
  (cd "$WORK" && run apt-get download "$package")
  rm -rf -- "$WORK/kernel"
  run dpkg-deb -x "$WORK"/linux-image-*.deb "$WORK/kernel"
}

# The path of what cargo built: `built test wireguard` is a test binary.
built() { jq -r --arg kind "$1" --arg name "$2" 'select(.executable and .target.name == $name and .target.kind[0] == $kind)
  .executable' "$WORK/built.json" | tail -n 1; }

# As it is released: emulated, anything else is too slow for the tests' patience.
build() {
  : >"$WORK/built.json"
  cargo test --locked --release --test wireguard --no-run --message-format=json >>"$WORK/built.json"
  cargo bench --locked --bench wireguard --no-run --message-format=json >>"$WORK/built.json"
}

# --- the machine -----------------------------------------------------------------------------------------------------

# A file and the libraries that it is linked with, each where it is here.
copy() {
  local file
  for file in "$1" $(ldd "$1" 2>/dev/null | grep -o '/[^ ]*'); do
    mkdir -p "$WORK/root${file%/*}"
    cp -L "$file" "$WORK/root$file"
  done
}

make_root() {
  local pair name kernel modules folder
  kernel="$(ls "$WORK/kernel/lib/modules")"
  modules="lib/modules/$kernel"
  rm -rf -- "$WORK/root"
  mkdir -p "$WORK/root"/{proc,sys,dev,run,tmp,etc,root,lib,bin,sbin,usr/bin,usr/sbin} "$WORK/root$TREE"
  for pair in $INSIDE; do
    copy "$(command -v "${pair%%:*}")"
  done
  # What the kernel calls when something is not loaded yet.
  cp "$(command -v modprobe)" "$WORK/root/sbin/modprobe"
  cp "$(command -v sh)" "$WORK/root/bin/sh"
  cp "$(command -v bash)" "$WORK/root/bin/bash"
  for name in cat chmod cut echo grep ls mkdir poweroff readlink rm sed sleep sort stat; do
    ln -sf /usr/bin/busybox "$WORK/root/usr/bin/$name"
  done
  ln -sf /usr/bin/busybox "$WORK/root/bin/busybox"
  cp /etc/protocols /etc/services "$WORK/root/etc/" 2>/dev/null || true
  for folder in crypto lib net/core net/ipv4 net/ipv6 net/netfilter net/sched arch/x86/crypto drivers/net/wireguard; do
    mkdir -p "$WORK/root/$modules/kernel/$folder"
    cp -r "$WORK/kernel/$modules/kernel/$folder/." "$WORK/root/$modules/kernel/$folder/"
  done
  cp "$WORK/kernel/$modules/kernel/drivers/net"/{veth,tun}.ko* "$WORK/root/$modules/kernel/drivers/net/"
  cp "$WORK/kernel/$modules"/modules.{order,builtin,builtin.modinfo} "$WORK/root/$modules/"
  depmod -b "$WORK/root" "$kernel"
  for name in "$(built test wireguard)" "$(built bench wireguard)" "$(built bin wiretoll)"; do
    copy "$name"
    strip "$WORK/root$name"
  done
  write_init >"$WORK/root/init"
  chmod 755 "$WORK/root/init"
  (cd "$WORK/root" && find . | cpio -o -H newc --quiet | zstd -q -1 -f -o "$WORK/root.cpio.zst")
}

# What the machine does: it says on its serial line how far it is, and how each part ended.
write_init() {
  cat <<END
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root CI=true RUST_BACKTRACE=0
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
modprobe -a wireguard veth tun nf_tables nf_conntrack
ip link set lo up
cd $TREE
part() {
  name=\$1; shift
  echo "=== \$name begins, \$(cut -d' ' -f1 /proc/uptime) s after the start"
  timeout $((AT_MOST_SECONDS / 2)) "\$@"
  echo "=== \$name ended with \$?, \$(cut -d' ' -f1 /proc/uptime) s after the start"
}
END
  if [[ $tests == yes ]]; then
    echo "part tests $(built test wireguard) --test-threads=1"
  fi
  if [[ $figures == yes ]]; then
    echo "part figures $(built bench wireguard) --bench peers agent"
  fi
  echo "poweroff -f"
}

boot() {
  local kernel
  kernel="$(echo "$WORK"/kernel/boot/vmlinuz-*)"
  timeout "$AT_MOST_SECONDS" qemu-system-x86_64 -M pc -accel "$accelerator" -cpu max -m 3072 -smp 2 -nodefaults \
    -no-user-config -nographic -no-reboot -serial stdio -kernel "$kernel" -initrd "$WORK/root.cpio.zst" \
    -append "console=ttyS0 quiet panic=-1 mitigations=off tsc=unstable" 2>&1 | sed -u 's/\r$//' | tee "$WORK/said"
}

# The machine's own exit status says nothing of what went on in it.
verdict() {
  local part failed=no
  for part in tests figures; do
    if [[ ${!part} == yes ]] && ! grep -q "^=== $part ended with 0," "$WORK/said"; then
      echo "FAILED: $part (all that was said is in $WORK/said)"
      failed=yes
    fi
  done
  [[ $failed == no ]] || exit 1
  printf '\nPASSED on the kernel of %s\n' "$(ls "$WORK/kernel/lib/modules")"
}

mkdir -p "$WORK"
step "programs and kernel"
check_programs
unpack_kernel
step "build"
run build
step "machine"
run make_root
run boot || echo "the machine did not end by itself"
verdict
