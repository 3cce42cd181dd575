// Links to lines: `#L120` and `#L120-L130`. Pure.

/** The lines of the last part of an address, from 0; null where it names none. @returns {[number, number] | null} */
export function linesOf(hash) {
  const found = /^#L(\d{1,12})(?:-L?(\d{1,12}))?$/.exec(hash);
  if (!found) return null;
  const first = Number(found[1]) - 1;
  const last = found[2] === undefined ? first : Number(found[2]) - 1;
  return first < 0 || last < 0 ? null : [Math.min(first, last), Math.max(first, last)];
}

/** The last part of an address of some lines, from 0. */
export function hashOf(first, last) {
  return first === last ? `#L${first + 1}` : `#L${first + 1}-L${last + 1}`;
}
