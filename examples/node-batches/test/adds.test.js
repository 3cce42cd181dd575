const assert = require('node:assert');
const test = require('node:test');

test('adds', () => {
  assert.strictEqual(2 + 3, 5);
});
