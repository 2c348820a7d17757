#!/bin/sh
# Installs packages into $ROOT, maintainer scripts included, and packs the result as an EROFS image. Runs as root, or as the
# root of a user namespace; rights.ts chose which. Environment:
#   ROOT       an empty folder            DEBS       folder with all package files
#   ESSENTIAL  file with one package file name per line: dpkg and what it needs, to be unpacked by hand first
#   PACKAGES   names for apt-get install  APT_CONFIG the private apt configuration
#   MKFS       command that reads a tar archive and writes $IMAGE
#   MOUNTS     1 where mounting is allowed
#   FAKEROOT   folder with fakeroot where only one user id exists, else empty
# Descriptor 3 receives apt's status lines.
set -eu
export DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true LC_ALL=C.UTF-8 HOME=/root
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
own="$ROOT/.vhca"

say() { echo "pmstatus:vhca:$1:$2" >&3; }

make_devices() {
  mkdir -p "$ROOT/dev" "$ROOT/proc"
  if [ "$MOUNTS" = 1 ]; then
    mount -t tmpfs -o mode=755 dev "$ROOT/dev"
    mount -t proc proc "$ROOT/proc" 2>/dev/null || mount --rbind /proc "$ROOT/proc"
    for name in null zero full random urandom tty; do
      : >"$ROOT/dev/$name"
      mount --bind "/dev/$name" "$ROOT/dev/$name"
    done
  else
    mknod -m 666 "$ROOT/dev/null" c 1 3
    mknod -m 666 "$ROOT/dev/zero" c 1 5
    mknod -m 666 "$ROOT/dev/random" c 1 8
    mknod -m 666 "$ROOT/dev/urandom" c 1 9
    mknod -m 666 "$ROOT/dev/tty" c 5 0
  fi
  mkdir -p "$ROOT/dev/shm" "$ROOT/dev/pts"
  ln -sf /proc/self/fd "$ROOT/dev/fd"
  ln -sf /proc/self/fd/0 "$ROOT/dev/stdin"
  ln -sf /proc/self/fd/1 "$ROOT/dev/stdout"
  ln -sf /proc/self/fd/2 "$ROOT/dev/stderr"
}

# Inside the root, $run is put before programs that change owners: nothing, or fakeroot with its memory in a file.
prepare_run() {
  if [ -z "$FAKEROOT" ]; then
    printf '#!/bin/sh\nexec "$@"\n' >"$own/run"
  else
    cp "$FAKEROOT/usr/bin/fakeroot-sysv" "$FAKEROOT/usr/bin/faked-sysv" "$FAKEROOT/usr/lib/x86_64-linux-gnu/libfakeroot/libfakeroot-sysv.so" "$own/"
    : >"$own/owners"
    # the kernel's answer for an id that does not exist is EINVAL, which fakeroot would pass on
    printf '#!/bin/sh\nexport FAKEROOTDONTTRYCHOWN=1\nexec /.vhca/fakeroot-sysv --lib /.vhca/libfakeroot-sysv.so --faked /.vhca/faked-sysv -i /.vhca/owners -s /.vhca/owners -- "$@"\n' >"$own/run"
  fi
  printf '#!/bin/sh\nexec /.vhca/run /usr/bin/dpkg "$@"\n' >"$own/dpkg"
  chmod 755 "$own/run" "$own/dpkg"
}

bootstrap() {
  mkdir -p "$own/debs/partial" "$ROOT/var/lib/dpkg/info" "$ROOT/var/lib/dpkg/updates" "$ROOT/var/lib/dpkg/triggers" "$ROOT/etc/dpkg/dpkg.cfg.d"
  : >"$ROOT/var/lib/dpkg/status"
  (cd "$DEBS" && ln -- *.deb "$own/debs/" 2>/dev/null || cp -- *.deb "$own/debs/")
  # speed, and no documentation: nobody reads man pages in a guest that lives for a minute
  cat >"$ROOT/etc/dpkg/dpkg.cfg.d/vhca" <<END
force-unsafe-io
path-exclude=/usr/share/doc/*
path-exclude=/usr/share/man/*
path-exclude=/usr/share/info/*
path-exclude=/usr/share/locale/*
path-exclude=/usr/share/lintian/*
END
  owner=--same-owner
  [ -z "$FAKEROOT" ] || owner=--no-same-owner
  while read -r file; do
    dpkg-deb --fsys-tarfile "$own/debs/$file" | tar -x -p $owner --exclude=./usr/share/man --exclude=./usr/share/locale -C "$ROOT"
  done <"$ESSENTIAL"
  mkdir -p "$ROOT/usr/sbin"
  printf '#!/bin/sh\nexit 101\n' >"$ROOT/usr/sbin/policy-rc.d"
  chmod 755 "$ROOT/usr/sbin/policy-rc.d"
  rm -f "$ROOT/etc/apt/sources.list"
}

install_packages() {
  say 5 "base system"
  files=$(sed 's,^,/.vhca/debs/,' "$ESSENTIAL")
  # shellcheck disable=SC2086
  chroot "$ROOT" /.vhca/dpkg --force-depends --install $files
  say 30 "packages"
  # shellcheck disable=SC2086
  apt-get -y --no-install-recommends --no-download \
    -o "Dir::State::status=$ROOT/var/lib/dpkg/status" -o "Dir::State::extended_states=$ROOT/var/lib/dpkg/extended_states" \
    -o "Dir::Cache::archives=$own/debs" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
    -o "DPkg::Chroot-Directory=$ROOT" -o Dir::Bin::dpkg=/.vhca/dpkg -o DPkg::Use-Pty=0 -o APT::Status-Fd=3 \
    install $PACKAGES
}

# What must not be shared by machines, or only costs space.
clean() {
  rm -rf "$own/debs" "$ROOT"/var/cache/apt/* "$ROOT"/var/lib/apt/lists/* "$ROOT"/var/log/*.log "$ROOT"/var/log/apt "$ROOT"/tmp/* "$ROOT"/run/*
  rm -f "$ROOT"/etc/ssh/ssh_host_* "$ROOT/usr/sbin/policy-rc.d" "$ROOT/etc/hostname" "$ROOT/etc/resolv.conf" "$ROOT"/var/cache/debconf/*-old "$ROOT"/var/lib/dpkg/*-old
  : >"$ROOT/etc/machine-id"
}

pack() {
  say 95 "image"
  chroot "$ROOT" /.vhca/run tar -c --numeric-owner --one-file-system --exclude=./.vhca --exclude='./dev/*' --exclude='./proc/*' -C / . | $MKFS
}

mkdir -p "$own"
bootstrap
make_devices
prepare_run
install_packages
clean
pack
