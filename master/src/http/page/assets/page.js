// Lists the builds. What comes from the farm is only ever put in as text.

const row = (build) => {
  const line = document.createElement("tr");
  for (const text of [build.id, build.job_name, build.status, build.result]) {
    line.insertCell().textContent = text ?? "";
  }
  return line;
};

const message = document.getElementById("message");

try {
  const answer = await fetch("/v2/builds");
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error);
  document.getElementById("builds").replaceChildren(...body.builds.reverse().map(row));
  message.textContent = body.builds.length ? "" : "There are no builds yet.";
} catch (error) {
  message.textContent = error.message;
}
