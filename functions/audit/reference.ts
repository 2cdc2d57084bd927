// A readable page out of an OpenAPI document: as Markdown, and the same as HTML without anything from elsewhere.

type Schema = {
  $ref?: string;
  type?: string | string[];
  description?: string;
  enum?: unknown[];
  items?: Schema;
  example?: unknown;
  anyOf?: Schema[];
};
type Parameter = {
  name: string;
  in: string;
  required?: boolean;
  description?: string;
  schema?: Schema;
};
type Operation = {
  summary?: string;
  description?: string;
  security?: unknown[];
  tags?: string[];
  parameters?: Parameter[];
  requestBody?: { content?: Record<string, { schema?: Schema }> };
  responses?: Record<
    string,
    { description?: string; content?: Record<string, { schema?: Schema }> }
  >;
};
type ObjectSchema = Schema & {
  properties?: Record<string, Schema>;
  required?: string[];
};

/** As much of an OpenAPI document as the page shows. */
export type Document = {
  info: { title: string; version: string; description?: string };
  servers?: { url: string }[];
  paths?: unknown;
  components?: unknown;
};

/** The page as Markdown. */
export function textOf(document: Document): string {
  const { info, servers = [] } = document;
  const schemas = (document.components as
    | { schemas?: Record<string, ObjectSchema> }
    | undefined)?.schemas ?? {};
  const blocks = [
    `# ${info.title} ${info.version}`,
    info.description ?? "",
    `Base address: \`${servers[0]?.url ?? "/"}\`. The same as an OpenAPI document: \`GET /audit/openapi.json\`.`,
  ];
  for (const [path, operations] of Object.entries(document.paths as Record<string, Record<string, Operation>>)) {
    for (const [method, operation] of Object.entries(operations)) {
      blocks.push(...operationBlocks(method, path, operation));
    }
  }
  for (const [name, schema] of Object.entries(schemas)) {
    blocks.push(...schemaBlocks(name, schema));
  }
  return blocks.filter((block) => block !== "").join("\n\n") + "\n";
}

/** The page as HTML. */
export function pageOf(document: Document): string {
  const body = textOf(document).trimEnd().split("\n\n").map(blockOf).join("\n");
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(document.info.title)}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 3rem; border-top: 1px solid #ccc; padding-top: 1rem; }
code { font-family: ui-monospace, monospace; background: #8882; padding: 0 .2em; border-radius: 3px; overflow-wrap: anywhere; }
li { margin: .3rem 0; }
@media (prefers-color-scheme: dark) { body { background: #111; color: #ddd; } }
</style>
${body}
</html>
`;
}

function operationBlocks(method: string, path: string, operation: Operation): string[] {
  const { summary = "", description = "", parameters = [], requestBody, responses = {}, security } = operation;
  return [
    `## ${method.toUpperCase()} ${path}`,
    `${summary}. ${description}${security === undefined ? " Needs no token." : ""}`,
    parameters.map(parameterLine).join("\n"),
    requestBody === undefined ? "" : `Body: ${bodiesOf(requestBody.content)}.`,
    Object.entries(responses).map(([status, response]) =>
      `- ${status === "default" ? "else" : status}: ${response.description ?? ""} ${bodiesOf(response.content)}`
        .trimEnd()
    ).join("\n"),
  ];
}

function schemaBlocks(name: string, schema: ObjectSchema): string[] {
  const fields = Object.entries(schema.properties ?? {});
  return [
    `## ${name}`,
    schema.description ?? "",
    fields.map(([field, value]) => line(field, value, schema.required?.includes(field) ?? false, value.description))
      .join("\n"),
  ];
}

function parameterLine({ name, schema = {}, required = false, description }: Parameter): string {
  return line(name, schema, required, description ?? schema.description);
}

function line(name: string, schema: Schema, required: boolean, description = ""): string {
  const example = schema.example === undefined || schema.$ref !== undefined
    ? ""
    : ` For example \`${typeof schema.example === "string" ? schema.example : JSON.stringify(schema.example)}\`.`;
  return `- \`${name}\` ${typeOf(schema)}${required ? "" : ", may be left out"}${
    description && ". "
  }${description}${example}`;
}

function typeOf(schema: Schema): string {
  if (schema.$ref !== undefined) return schema.$ref.split("/").at(-1)!;
  if (schema.enum !== undefined) {
    return schema.enum.map((value) => `\`${value}\``).join(" or ");
  }
  if (schema.anyOf !== undefined) return schema.anyOf.map(typeOf).join(" or ");
  if (schema.type === "array") return `list of ${typeOf(schema.items ?? {})}`;
  return [schema.type ?? "any"].flat().join(" or ");
}

function bodiesOf(content: Record<string, { schema?: Schema }> = {}): string {
  return Object.entries(content).map(([type, { schema }]) => {
    const name = schema === undefined ? "" : typeOf(schema);
    return name === "string" ? `\`${type}\`` : `\`${type}\` (${name})`;
  }).join(", ");
}

/** One block of the Markdown above, which has headings, lists, paragraphs and code, and nothing in one another. */
function blockOf(block: string): string {
  const heading = /^(#+) (.*)$/.exec(block);
  if (heading !== null) {
    return `<h${heading[1]!.length}>${inline(heading[2]!)}</h${heading[1]!.length}>`;
  }
  if (!block.startsWith("- ")) return `<p>${inline(block)}</p>`;
  return `<ul>\n${block.split("\n").map((item) => `<li>${inline(item.slice(2))}</li>`).join("\n")}\n</ul>`;
}

function inline(text: string): string {
  return escape(text).replace(/`([^`]*)`/g, "<code>$1</code>");
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
