// Says of each test file how its tests ended: "ok FILE" or "not ok FILE", with a line for each test and its time.
// These lines come at the end: a process that ends before it says nothing.
export default async function* batch(source) {
  const lines = [];
  for await (const { type, data } of source) {
    if (type === 'test:pass' || type === 'test:fail') {
      const word = type === 'test:pass' ? 'ok' : 'not ok';
      const time = data.details.duration_ms;
      // A test in another test is part of that one.
      if (data.nesting === 0) lines.push(`${word} ${data.file} # time=${time}ms\n`);
    }
    if (type === 'test:fail') {
      const error = data.details.error;
      yield `# ${data.file}: ${data.name} failed\n${error?.cause?.stack ?? error}\n`;
    }
    if (type === 'test:stdout' || type === 'test:stderr') yield data.message;
  }
  yield lines.join('');
}
