import assert from "node:assert/strict";
import { test } from "node:test";
import { aptConf, parseUris, sourcesList } from "./apt.ts";
import { acquireSettings, chooseMirrors, type Machine, parseTargets } from "./machine.ts";

const machine: Machine = {
  archive: { uri: "http://mirror.example/debian" },
  security: { uri: "http://mirror.example/security" },
  keyrings: ["/usr/share/keyrings/debian-archive-keyring.gpg"],
  acquire: ['Acquire::http::Proxy "http://proxy.example:3128";'],
};

test("machine: Debian's mirrors are chosen, not those of other vendors", () => {
  const text = [
    "https://vendor.example/debian|stable|main",
    "https://other.example/apt|bookworm|main",
    "http://mirror.example/security|trixie-security|main",
    "http://mirror.example/os|bookworm|contrib",
    "http://mirror.example/os|bookworm|main",
    "http://mirror.example/os|bookworm-updates|main",
    "",
  ].join("\n");
  const { archive, security } = chooseMirrors(parseTargets(text));
  assert.equal(archive?.uri, "http://mirror.example/os");
  assert.equal(security?.uri, "http://mirror.example/security");
  assert.equal(
    chooseMirrors(parseTargets("http://a.example/apt|stable|main\nhttp://b.example/debian|trixie|main")).archive?.uri,
    "http://b.example/debian",
  );
  assert.deepEqual(chooseMirrors(parseTargets("http://x.example|noble|main\n")), { archive: undefined, security: undefined });
});

test("machine: proxies and time-outs are taken over, hooks and list settings are not", () => {
  const dump = [
    'Acquire::http::Proxy "http://proxy.example:3128";',
    'Acquire::Retries "7";',
    'Acquire::cdrom "";',
    'Acquire::Languages "de";',
    'Acquire::IndexTargets::deb::Packages::Optional "0";',
    'DPkg::Post-Invoke:: "rm -f /var/cache/apt/archives/*.deb";',
    'APT::Update::Post-Invoke:: "evil";',
  ].join("\n");
  assert.deepEqual(acquireSettings(dump), ['Acquire::http::Proxy "http://proxy.example:3128";', 'Acquire::Retries "7";']);
});

test("apt: the configuration stays inside its folder and the machine's settings win over ours", () => {
  const conf = aptConf("/cache/apt", machine);
  assert.match(conf, /^Dir::State::status "\/cache\/apt\/status";$/m);
  assert.match(conf, /^Dir::Etc "\/cache\/apt\/etc";$/m);
  assert.ok(conf.indexOf("Acquire::http::Proxy") > conf.indexOf("Acquire::Retries"));
  const sources = sourcesList(machine).trim().split("\n");
  assert.deepEqual(
    sources.map((line) => line.split(" ").slice(2).join(" ")),
    [
      "http://mirror.example/debian trixie main",
      "http://mirror.example/debian trixie-updates main",
      "http://mirror.example/debian trixie-backports main",
      "http://mirror.example/security trixie-security main",
    ],
  );
  assert.ok(sources.every((line) => line.includes("signed-by=/usr/share/keyrings/")));
  assert.equal(
    sourcesList({ ...machine, security: undefined })
      .trim()
      .split("\n").length,
    3,
  );
});

test("apt: a resolver's answer is read, with epochs, and sorted", () => {
  const text = [
    "'http://mirror.example/p/zlib1g_1.3_amd64.deb' zlib1g_1%3a1.3+b1_amd64.deb 88720 SHA256:ab12",
    "Reading package lists...",
    "'http://mirror.example/p/bash_5.2_amd64.deb' bash_5.2_amd64.deb 150 SHA256:cd34",
  ].join("\n");
  assert.deepEqual(parseUris(text), [
    { name: "bash", version: "5.2", file: "bash_5.2_amd64.deb", sizeBytes: 150, sha256: "cd34" },
    { name: "zlib1g", version: "1:1.3+b1", file: "zlib1g_1%3a1.3+b1_amd64.deb", sizeBytes: 88720, sha256: "ab12" },
  ]);
});
