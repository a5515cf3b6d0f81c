// Source maps: from a line of the bundle to the line that was written.

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** Numbers of one segment. */
function numbers(segment) {
  const found = [];
  let value = 0, shift = 0;
  for (const character of segment) {
    const digit = DIGITS.indexOf(character);
    value |= (digit & 31) << shift;
    shift += 5;
    if (digit & 32) continue;
    found.push(value & 1 ? -(value >>> 1) : value >>> 1);
    value = shift = 0;
  }
  return found;
}

/** Gives a function from file, line and column of the bundle to those of the source. The map is read at the first call. */
export function resolver(map) {
  let lines;
  const read = () => {
    let source = 0, line = 0;
    return map.mappings.split(";").map((text) => {
      let column = 0;
      return text.split(",").filter(Boolean).map((segment) => {
        const [a, b, c] = numbers(segment);
        column += a;
        if (b !== undefined) { source += b; line += c; }
        return { column, source, line };
      });
    });
  };
  return (file, line, column) => {
    lines ??= read();
    const segments = lines[line - 1];
    if (!segments?.length) return { file, line, column };
    let best = segments[0];
    for (const segment of segments) {
      if (segment.column <= column - 1) best = segment;
    }
    return { file: map.sources[best.source].replace(/^(\.\.\/)+/, ""), line: best.line + 1, column };
  };
}
