// What is said of projects elsewhere. Pure.

import { short, visible } from "./text.js";

/** The address of a project's badge. @param {string} origin such as `https://farm.example.org` */
export function badgeAddress(origin, project) {
  return `${origin}/v2/projects/${project.id}/badge.svg`;
}

/** A project's badge as Markdown, which leads to the project. Nothing of the name is more than text there. */
export function badgeMarkdown(origin, project) {
  const words = visible(short(project.name, 80)).replace(/[\r\n]+/g, " ").replace(/[\\[\]`*_<>!&]/g, "\\$&");
  return `[![${words}](${badgeAddress(origin, project)})](${origin}/ui/projects/${project.id})`;
}
