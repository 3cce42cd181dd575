const assert = require('node:assert');
const test = require('node:test');

test('subtracts', () => {
  assert.strictEqual(2 - 3, -1);
});
