const assert = require('node:assert');
const test = require('node:test');

test('multiplies', () => {
  assert.strictEqual(2 * 3, 6);
});
