// What the form for a build says, and what is wrong with it. Pure.

/**
 * What is wrong with each field, by its name; nothing for fields that are right.
 * @param {Record<string, string>} fields
 * @returns {Record<string, string>}
 */
export function mistakes(fields) {
  const wrong = {};
  if (fields.type === "git") {
    if (!fields.url) wrong.url = "A URL is needed, such as https://example.org/project.git.";
    else if (/\s/.test(fields.url)) wrong.url = "A URL has no spaces.";
    else if (!/^([a-z][a-z0-9+.-]*:\/\/.|\/|[^/@:]+@[^/:]+:|[^/:]+:[^/])/i.test(fields.url)) wrong.url = "This is no URL, such as https://example.org/project.git or git@example.org:project.git.";
    if (fields.hash && !/^[0-9a-f]{40}$/i.test(fields.hash)) wrong.hash = "A commit has 40 hexadecimal digits.";
  } else if (!fields.project_directory) wrong.project_directory = "A directory is needed that all machines of the farm have.";
  else if (!fields.project_directory.startsWith("/")) wrong.project_directory = "Write the whole path, from / on.";
  const lines = (fields.env ?? "").split("\n").map((line, at) => [line.trim(), at + 1]);
  const bad = lines.filter(([line]) => line && !/^[A-Za-z_][A-Za-z0-9_]*=/.test(line)).map(([, number]) => number);
  if (bad.length === 1) wrong.env = `Line ${bad[0]} is not of the form NAME=value.`;
  else if (bad.length) wrong.env = `Lines ${bad.slice(0, 10).join(", ")}${bad.length > 10 ? " …" : ""} are not of the form NAME=value.`;
  if (fields.config) {
    try {
      const config = JSON.parse(fields.config);
      if (config === null || typeof config !== "object" || Array.isArray(config)) wrong.config = "A job is an object: {\"commands\": […], \"atomizers\": […]}.";
    } catch (error) {
      wrong.config = `This is no JSON: ${error.message}`;
    }
  }
  return wrong;
}

/**
 * What the master finds wrong with a field: its name and the words. The name is null where the master names none.
 * @param {string} words such as `Field 'url': …`
 * @returns {[string | null, string]}
 */
export function refusal(words) {
  const found = /^Field '(\w+)': ([^]+)$/.exec(words);
  return found ? [found[1], found[2]] : [null, words];
}

/** The request that fields without mistakes ask for. */
export function requestOf(fields) {
  const request = { type: fields.type };
  const names = fields.type === "git" ? ["url", "branch", "hash"] : ["project_directory"];
  for (const name of [...names, "job_name"]) if (fields[name]) request[name] = fields[name];
  const variables = linesOf(fields.env).map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]);
  if (variables.length) request.env = Object.fromEntries(variables);
  if (fields.config) request.config = JSON.parse(fields.config);
  const atoms = linesOf(fields.atoms_override);
  if (atoms.length) request.atoms_override = atoms;
  return request;
}

function linesOf(text) {
  return (text ?? "").split("\n").map((line) => line.trim()).filter(Boolean);
}
