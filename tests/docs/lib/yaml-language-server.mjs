// Opens files in yaml-language-server as an editor does, and writes what it
// flags: node yaml-language-server.mjs SERVER SCHEMA OUTPUT FILE…
//
// One line for each diagnostic: FILE:LINE:COLUMN: MESSAGE.
import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [server, schema, output, ...files] = process.argv.slice(2);
const child = spawn(process.execPath, [server, "--stdio"], { stdio: ["pipe", "pipe", "inherit"] });
const settings = {
  yaml: {
    validate: true,
    completion: false,
    hover: false,
    yamlVersion: "1.2",
    schemaStore: { enable: false },
    schemas: { [pathToFileURL(schema).href]: ["*.yaml"] },
  },
};
const limit = setTimeout(() => fail("no answer within two minutes"), 120_000);

function fail(why) {
  console.error(`yaml-language-server: ${why}`);
  child.kill();
  process.exit(1);
}

function send(message) {
  const body = Buffer.from(JSON.stringify({ jsonrpc: "2.0", ...message }));
  child.stdin.write(`Content-Length: ${body.length}\r\n\r\n`);
  child.stdin.write(body);
}

const waiting = new Map();
let id = 0;
function request(method, params) {
  send({ id: ++id, method, params });
  return new Promise((resolve) => waiting.set(id, resolve));
}

const found = new Map();
const awaited = new Map();
function receive(message) {
  if (message.method === "workspace/configuration") {
    const result = message.params.items.map(({ section }) => settings[section] ?? {});
    send({ id: message.id, result });
  } else if (message.method === "textDocument/publishDiagnostics") {
    found.set(message.params.uri, message.params.diagnostics);
    awaited.get(message.params.uri)?.();
  } else if (message.method !== undefined && message.id !== undefined) {
    send({ id: message.id, result: null });
  } else if (message.id !== undefined) {
    waiting.get(message.id)?.(message.result);
  }
}

let pending = Buffer.alloc(0);
child.stdout.on("data", (data) => {
  pending = Buffer.concat([pending, data]);
  for (;;) {
    const end = pending.indexOf("\r\n\r\n");
    if (end < 0) return;
    const length = Number(/content-length: *(\d+)/i.exec(pending.subarray(0, end).toString())[1]);
    if (pending.length < end + 4 + length) return;
    const body = pending.subarray(end + 4, end + 4 + length).toString();
    pending = pending.subarray(end + 4 + length);
    receive(JSON.parse(body));
  }
});
child.on("exit", (code) => found.size < files.length && fail(`ended with ${code}`));

await request("initialize", {
  processId: process.pid,
  rootUri: null,
  capabilities: { workspace: { configuration: true }, textDocument: { publishDiagnostics: {} } },
});
send({ method: "initialized", params: {} });
send({ method: "workspace/didChangeConfiguration", params: { settings } });

// All at once: the server lets each rest for a while before it looks.
const opened = files.map((file) => {
  const uri = pathToFileURL(file).href;
  const answered = new Promise((resolve) => awaited.set(uri, resolve));
  const text = readFileSync(file, "utf8");
  send({ method: "textDocument/didOpen", params: { textDocument: { uri, languageId: "yaml", version: 1, text } } });
  return { file, uri, answered };
});
const lines = [];
for (const { file, uri, answered } of opened) {
  await answered;
  for (const { range, message } of found.get(uri)) {
    lines.push(`${file}:${range.start.line + 1}:${range.start.character + 1}: ${message.replaceAll("\n", " ")}\n`);
  }
}
writeFileSync(output, lines.join(""));
clearTimeout(limit);
child.kill();
