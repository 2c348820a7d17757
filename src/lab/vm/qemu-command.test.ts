import assert from "node:assert/strict";
import { test } from "node:test";
import { ethernetAddress, hostsFile, ipoibAddress, MAX_NODES, macAddress } from "./addresses.ts";
import { type GuestConfig, kernelCommandLine, qemuArguments } from "./qemu-command.ts";

const config: GuestConfig = {
  name: "n2",
  index: 2,
  accelerator: "tcg",
  memoryMiB: 768,
  cpus: 1,
  kernelFile: "/c/vmlinux",
  initialArchive: "/r/initial.cpio",
  rootImage: "/c/root.erofs",
  modulesImage: "/c/modules.erofs",
  serialLog: "/r/n2.log",
  qmpSocket: "/r/n2.qmp",
  sshSocket: "/r/n2.ssh",
  statusSocket: "/r/n2.new",
  ethernetMtu: 1500,
  waitForIb: true,
  setupSocket: "/r/n2.set",
  start: "boot",
};

const after = (args: readonly string[], option: string): string[] =>
  args.flatMap((each, index) => (args[index - 1] === option ? [each] : []));

test("qemu: guest memory is a shared memfd of the whole size, on any accelerator", () => {
  for (const accelerator of ["tcg", "kvm"] as const) {
    const args = qemuArguments({ ...config, accelerator });
    assert.deepEqual(after(args, "-object"), ["memory-backend-memfd,id=ram,size=768M,share=on"]);
    assert.match(after(args, "-machine")[0] ?? "", /memory-backend=ram/);
    assert.deepEqual(after(args, "-cpu"), [accelerator === "kvm" ? "host" : "max"]);
  }
});

test("qemu: an HCA is a vfio-user-pci device with its own slot; without a socket there is none", () => {
  const devices = after(qemuArguments({ ...config, hcaSocket: "/r/h,2.sock", ethernetSocket: "/r/eth" }), "-device");
  const hca = JSON.parse(devices.find((each) => each.startsWith("{")) ?? "{}");
  assert.deepEqual(hca, { driver: "vfio-user-pci", id: "hca", addr: "5", socket: { type: "unix", path: "/r/h,2.sock" } });
  const waiting = after(qemuArguments({ ...config, hcaSocket: "/r/h", awaitsWrites: true }), "-device").at(-1) ?? "";
  assert.equal(JSON.parse(waiting)["x-no-posted-writes"], true);
  const slots = devices.map((each) => /addr"?[=:]"?(\d+)/.exec(each)?.[1]).filter((slot) => slot !== undefined);
  assert.equal(new Set(slots).size, slots.length, "every device has a slot of its own");
  assert.ok(!after(qemuArguments(config), "-device").some((each) => each.includes("vfio-user")));
});

test("qemu: IPoIB is waited for only where there is an HCA, the share only mounted where there is one", () => {
  assert.doesNotMatch(kernelCommandLine(config), /vhca\.wait/);
  assert.match(kernelCommandLine({ ...config, hcaSocket: "/x" }), /vhca\.wait=ib/);
  assert.doesNotMatch(kernelCommandLine({ ...config, hcaSocket: "/x", waitForIb: false }), /vhca\.wait/);
  assert.doesNotMatch(kernelCommandLine(config), /vhca\.share/);
  const shared = { ...config, share: "/home/me,too" };
  assert.match(kernelCommandLine(shared), /vhca\.share=1/);
  assert.match(after(qemuArguments(shared), "-fsdev")[0] ?? "", /path=\/home\/me,,too,/);
});

test("addresses: every node is in every hosts file, twice, with its own addresses", () => {
  const lines = hostsFile(3).split("\n");
  for (const line of ["10.86.0.3 n3", "10.87.0.3 n3-ib", "10.86.0.1 n1"]) assert.ok(lines.includes(line), line);
  const all = Array.from({ length: MAX_NODES }, (_, index) => [
    ethernetAddress(index + 1),
    ipoibAddress(index + 1),
    macAddress(index + 1),
  ]).flat();
  assert.equal(new Set(all).size, 3 * MAX_NODES);
  assert.ok(all.every((each) => !each.endsWith(".255")));
});
