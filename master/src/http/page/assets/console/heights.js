// Where blocks of lines begin, when some are higher than others. Pure.

export class Heights {
  /** @param {number} usual the height of a block that nobody has measured */
  constructor(usual) {
    this.usual = usual;
    this.count = 0;
    this.heights = new Float64Array(0);
    this.tops = new Float64Array(1);
    this.wrongFrom = 0;
  }

  /** There are so many blocks; the last one has this height. */
  resize(count, last) {
    if (count > this.heights.length) {
      const heights = new Float64Array(Math.max(count, this.heights.length * 2)).fill(this.usual);
      heights.set(this.heights.subarray(0, this.count));
      this.heights = heights;
      this.tops = new Float64Array(heights.length + 1);
      this.wrongFrom = 0;
    }
    if (count === this.count && this.last === last) return;
    // What was the last block is a usual one now, until it is measured.
    if (this.count && this.count <= count) this.set(this.count - 1, this.usual);
    this.count = count;
    this.last = last;
    if (count) this.set(count - 1, last);
  }

  /** Sets the height of a block; by how much it changed. */
  set(block, height) {
    const change = height - this.heights[block];
    if (change) {
      this.heights[block] = height;
      this.wrongFrom = Math.min(this.wrongFrom, block);
    }
    return change;
  }

  /** Forgets all that was measured. */
  forget() {
    this.heights.fill(this.usual);
    if (this.count) this.heights[this.count - 1] = this.last;
    this.wrongFrom = 0;
  }

  #mend() {
    for (let block = this.wrongFrom; block < this.count; block += 1) this.tops[block + 1] = this.tops[block] + this.heights[block];
    this.wrongFrom = this.count;
  }

  /** Where a block begins. */
  top(block) {
    if (block > this.wrongFrom) this.#mend();
    return this.tops[block];
  }

  /** The height of all of them. */
  get total() {
    return this.top(this.count);
  }

  /** The block at a height. */
  at(height) {
    this.#mend();
    let [low, high] = [0, this.count];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.tops[middle + 1] <= height) low = middle + 1;
      else high = middle;
    }
    return Math.min(low, Math.max(0, this.count - 1));
  }
}
