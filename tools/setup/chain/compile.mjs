// Compiles engine/anchor/contract/LeanAnchor.sol into what LeanAnchor.json holds, and prints it.
//
// usage: node compile.mjs LeanAnchor.sol FOLDER-WITH-node_modules
//
// Settings are fixed, and no metadata is appended to the code: the same source gives the same bytes everywhere.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const [source, folder] = process.argv.slice(2);
if (!source || !folder) {
  console.error("usage: node compile.mjs LeanAnchor.sol FOLDER-WITH-node_modules");
  process.exit(2);
}
const solc = createRequire(resolve(folder, "package.json"))("solc");
const settings = {
  optimizer: { enabled: true, runs: 200 },
  evmVersion: "cancun",
  metadata: { appendCBOR: false, bytecodeHash: "none" },
};
const wanted = ["abi", "evm.bytecode.object", "evm.deployedBytecode.object", "evm.deployedBytecode.immutableReferences"];
const input = {
  language: "Solidity",
  sources: { "LeanAnchor.sol": { content: readFileSync(source, "utf8") } },
  settings: { ...settings, outputSelection: { "*": { "*": wanted } } },
};
const output = JSON.parse(solc.compile(JSON.stringify(input)));
for (const message of output.errors ?? []) console.error(message.formattedMessage);
if (output.errors?.length) process.exit(1);
const contract = output.contracts["LeanAnchor.sol"].LeanAnchor;
const code = contract.evm.deployedBytecode;
const operator = Object.values(code.immutableReferences).flat().map((place) => place.start);
const artifact = {
  compiler: solc.version(),
  settings,
  abi: contract.abi,
  bytecode: `0x${contract.evm.bytecode.object}`,
  deployedBytecode: `0x${code.object}`,
  operatorAt: operator,
};
process.stdout.write(`${JSON.stringify(artifact, null, 1)}\n`);
