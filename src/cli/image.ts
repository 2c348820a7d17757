// vhca image build|list|rm: guest images from distribution packages.

import { type Command, InvalidArgumentError } from "commander";
import { listImages, removeImage } from "../lab/image/image.ts";
import { Cache } from "../lab/packages/cache.ts";
import { buildNamedImage } from "../lab/prepare.ts";
import { interruptible } from "./interrupt.ts";
import { bytesText, ExitCode, printJson, printLine, table } from "./output.ts";
import { packagesOption } from "./packages-option.ts";
import { ProgressLine } from "./progress.ts";

const HASH_SHOWN = 12;

export function addImage(program: Command): void {
  const image = program
    .command("image")
    .summary("build, list or remove guest images")
    .description("Builds, lists and removes guest images, which vhca run --image boots.");
  image
    .command("build")
    .description("Builds a guest image from the newest packages: the default set plus those named.")
    .addOption(packagesOption())
    .option("--name <name>", "make it known under this name, for --image", parseName)
    .option("--json", "print the image as JSON")
    .action(async (options: { packages: string[]; name?: string; json?: boolean }) => {
      const progress = new ProgressLine(options.json);
      process.exitCode = await interruptible(async (signal) => {
        const { packages, name } = options;
        const built = await buildNamedImage({ packages, name, onProgress: progress.show, signal }).finally(() => progress.done());
        if (options.json === true) printJson(built);
        else
          printLine(
            `${name ?? built.hash.slice(0, HASH_SHOWN)}: ${bytesText(built.sizeBytes)}, ${built.contents.length} packages, ${built.file}`,
          );
        return ExitCode.OK;
      });
    });
  image
    .command("list")
    .description("Lists the images in the cache.")
    .option("--json", "print everything as JSON")
    .action((options: { json?: boolean }) => {
      const images = listImages(new Cache());
      if (options.json === true) printJson(images);
      else if (images.length === 0)
        printLine("No images yet; vhca image build makes one, and vhca run makes the default one when it needs it.");
      else
        printLine(
          table(
            ["image", "names", ">size", "added packages", "built"],
            images.map((i) => [
              i.hash.slice(0, HASH_SHOWN),
              i.names.join(" ") || "-",
              bytesText(i.sizeBytes),
              i.packages.join(" ") || "(default set)",
              i.builtAt,
            ]),
          ),
        );
    });
  image
    .command("rm <name>")
    .description("Removes an image by name or hash.")
    .action((name: string) => {
      const removed = removeImage(new Cache(), name);
      printLine(`removed ${removed.hash.slice(0, HASH_SHOWN)}, ${bytesText(removed.sizeBytes)}`);
    });
}

function parseName(text: string): string {
  if (!/^[a-z][a-z0-9-]{0,30}$/.test(text))
    throw new InvalidArgumentError("expected a lower-case letter followed by letters, digits or '-'");
  return text;
}
