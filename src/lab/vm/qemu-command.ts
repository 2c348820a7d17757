// The QEMU command line of one guest. docs: qemu(1); vfio-user-pci: docs/system/devices/vfio-user.rst.

import { macAddress } from "./addresses.ts";

/** Where PCI devices sit: JSON devices are created after classic ones, so every address is given. */
const PciSlot = { ROOT: 2, MODULES: 3, SERIAL: 4, HCA: 5, ETHERNET: 6, SHARE: 1 } as const;

/** The descriptor by which QEMU inherits the memory of a guest whose memory we keep: a sealed memfd. */
export const MEMORY_DESCRIPTOR = 3;

/**
 * How a guest comes to life: by booting; by booting up to the point where a snapshot is taken of it, with nothing that belongs to
 * one lab; or from such a snapshot.
 */
export type GuestStart = "boot" | "boot-for-snapshot" | "restore";

export type Accelerator = "kvm" | "tcg";

/** Everything that differs between guests. */
export interface GuestConfig {
  readonly name: string;
  /** 1 for n1. */
  readonly index: number;
  readonly accelerator: Accelerator;
  readonly memoryMiB: number;
  readonly cpus: number;
  readonly kernelFile: string;
  readonly initialArchive: string;
  readonly rootImage: string;
  readonly modulesImage: string;
  /** Sockets and files in the run folder. */
  readonly serialLog: string;
  readonly qmpSocket: string;
  readonly sshSocket: string;
  readonly statusSocket: string;
  /** Where a restored guest is told who it is. */
  readonly setupSocket: string;
  /** The switch's socket; none for a lab without Ethernet. */
  readonly ethernetSocket?: string | undefined;
  readonly ethernetMtu: number;
  /** vfio-user socket of this node's HCA. */
  readonly hcaSocket?: string | undefined;
  /** Whether a processor of the guest waits for the answer to each of its writes to the HCA, instead of going on at once. */
  readonly awaitsWrites?: boolean | undefined;
  /** Host folder for /mnt/host. */
  readonly share?: string | undefined;
  /** "ready" waits for IPoIB. */
  readonly waitForIb: boolean;
  readonly start: GuestStart;
}

/**
 * What the kernel may leave out. Measured with one guest under TCG, seconds from start to a usable system: 4.2 with the
 * defaults, 2.7 with these. The two initcalls are the self-test of a random number generator and the key for checking module
 * signatures (0.3 s for 25 modules; the kernel marks itself tainted with E instead). `init_on_alloc=0` is no candidate:
 * ib_mthca does not clear its memory regions, and ib_core then drops a reference to whatever stood in their `res.task`.
 */
export const KERNEL_WORDS = [
  ...["console=ttyS0", "panic=-1", "quiet", "mitigations=off", "nokaslr", "audit=0", "nowatchdog", "cryptomgr.notests"],
  ...["random.trust_cpu=on", "tsc=reliable", "no_timer_check", "rodata=off"],
  // lets a probe in the guest map the UAR pages of a device whose driver is loaded (bench/guest/store.c)
  "iomem=relaxed",
  "initcall_blacklist=jent_mod_init,load_system_certificate_list",
];

export function kernelCommandLine(config: GuestConfig): string {
  if (config.start !== "boot") return [...KERNEL_WORDS, "vhca.node=snapshot"].join(" ");
  const words = [...KERNEL_WORDS, `vhca.node=${config.index}`, `vhca.mtu=${config.ethernetMtu}`];
  if (config.share !== undefined) words.push("vhca.share=1");
  if (config.waitForIb && config.hcaSocket !== undefined) words.push("vhca.wait=ib");
  return words.join(" ");
}

/** A value inside a comma-separated option: commas are doubled. */
const quote = (text: string): string => text.replaceAll(",", ",,");

/** The machine without its devices; also used to try an accelerator. */
export function machineArguments(
  accelerator: Accelerator,
  memoryMiB: number,
  cpus: number,
  memory = `memory-backend-memfd,id=ram,size=${memoryMiB}M,share=on`,
): string[] {
  return [
    ...["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
    ...["-accel", accelerator === "tcg" ? "tcg,thread=multi" : "kvm"],
    // guest RAM must be a shared memfd, or DMA_MAP carries no descriptor
    ...["-machine", "q35,memory-backend=ram,sata=off,smbus=off,vmport=off,usb=off"],
    ...["-object", memory],
    ...["-m", `${memoryMiB}M`, "-smp", `${cpus},maxcpus=${Math.max(cpus, 2)}`, "-cpu", accelerator === "kvm" ? "host" : "max"],
  ];
}

export function qemuArguments(config: GuestConfig): string[] {
  const { accelerator, memoryMiB, cpus, start } = config;
  const args = [
    ...["-name", config.name],
    ...machineArguments(accelerator, memoryMiB, cpus, start === "boot" ? undefined : inheritedMemory(memoryMiB)),
    ...(start === "restore" ? ["-incoming", "defer"] : kernelArguments(config)),
    ...["-chardev", `file,id=serial,path=${quote(config.serialLog)}`, "-serial", "chardev:serial"],
    ...["-qmp", `unix:${quote(config.qmpSocket)},server=on,wait=off`],
    ...disk("root", config.rootImage, PciSlot.ROOT),
    ...disk("modules", config.modulesImage, PciSlot.MODULES),
    ...["-device", `virtio-serial-pci,id=channels,max_ports=4,addr=${PciSlot.SERIAL}`],
    ...channel("ssh", config.sshSocket, 1),
    ...channel("status", config.statusSocket, 2),
  ];
  if (config.ethernetSocket !== undefined) args.push(...ethernet(config, config.ethernetSocket));
  if (config.share !== undefined) args.push(...shareFolder(config.share));
  if (start !== "boot") args.push(...snapshotDevices(config));
  if (start !== "boot-for-snapshot") args.push(...labDevices(config));
  return args;
}

/** Migration leaves alone what is shared *and* a file; the memfd of `memory-backend-memfd` does not count as one. */
const inheritedMemory = (memoryMiB: number): string =>
  `memory-backend-file,id=ram,size=${memoryMiB}M,share=on,mem-path=/proc/self/fd/${MEMORY_DESCRIPTOR}`;

const kernelArguments = (config: GuestConfig): string[] => [
  ...["-kernel", config.kernelFile, "-initrd", config.initialArchive, "-append", kernelCommandLine(config)],
];

/** What belongs to one lab. A restored guest did not have them when it was saved, and looks for them when it goes on. */
function labDevices(config: GuestConfig): string[] {
  const args: string[] = [];
  if (config.share !== undefined) args.push("-device", `${SHARE_DEVICE},addr=${PciSlot.SHARE}`);
  if (config.hcaSocket !== undefined) {
    args.push(
      "-device",
      JSON.stringify({ ...hcaDevice(config.hcaSocket, config.awaitsWrites === true), addr: String(PciSlot.HCA) }),
    );
  }
  return args;
}

/**
 * A channel that tells the guest who it is, and a generation number by which its kernel knows that it must not trust its random
 * numbers any more.
 */
function snapshotDevices(config: GuestConfig): string[] {
  return [...["-device", "vmgenid,guid=auto"], ...channel("setup", config.setupSocket, 3)];
}

/** Shared by all guests, so never written and never locked. */
function disk(id: string, file: string, slot: number): string[] {
  return [
    ...["-drive", `if=none,id=${id},format=raw,readonly=on,file.locking=off,file=${quote(file)}`],
    ...["-device", `virtio-blk-pci,drive=${id},addr=${slot},romfile=`],
  ];
}

function channel(id: string, socket: string, number: number): string[] {
  return [
    ...["-chardev", `socket,id=${id},path=${quote(socket)},server=on,wait=off`],
    ...["-device", `virtserialport,bus=channels.0,chardev=${id},name=vhca.${id},nr=${number}`],
  ];
}

function ethernet(config: GuestConfig, socket: string): string[] {
  return [
    ...["-netdev", `stream,id=eth,server=off,reconnect-ms=1000,addr.type=unix,addr.path=${quote(socket)}`],
    "-device",
    `virtio-net-pci,netdev=eth,mac=${macAddress(config.index)},host_mtu=${config.ethernetMtu},addr=${PciSlot.ETHERNET},romfile=`,
  ];
}

function shareFolder(folder: string): string[] {
  return ["-fsdev", `local,id=share,path=${quote(folder)},security_model=none,multidevs=remap`];
}

const SHARE_DEVICE = "virtio-9p-pci,fsdev=share,mount_tag=host";

const hcaDevice = (socket: string, awaitsWrites: boolean): Readonly<Record<string, unknown>> => ({
  driver: "vfio-user-pci",
  id: "hca",
  socket: { type: "unix", path: socket },
  ...(awaitsWrites ? { "x-no-posted-writes": true } : {}),
});
