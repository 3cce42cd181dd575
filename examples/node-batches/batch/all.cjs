// Loads all test files of a batch into this process: $ATOMS_FILE has their names, one a line.
const { readFileSync } = require('node:fs');
const { resolve } = require('node:path');

for (const file of readFileSync(process.env.ATOMS_FILE, 'utf8').split('\n')) {
  if (file) require(resolve(file));
}
