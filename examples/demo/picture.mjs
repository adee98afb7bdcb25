/** @file A grey picture as text: two pixels a character, one above the other. */

/**
 * Draws a picture in half blocks, in the 24 greys of a 256-colour terminal.
 * @param {ArrayLike<number>} pixels brightness 0 to 1, row-major, at least width × height
 * @param {number} columns widest that the text may be
 * @returns {string[]} lines of the text
 */
export function drawPicture(pixels, width, height, columns) {
  const scale = Math.max(1, width / columns);
  const [w, h] = [Math.floor(width / scale), Math.floor(height / scale)];
  // The mean of the pixels that fall on one: thin strokes get lighter instead of being lost.
  const shade = (x, y) => {
    let sum = 0;
    let count = 0;
    for (let i = Math.floor(y * scale); i < Math.min(height, (y + 1) * scale); i++)
      for (let j = Math.floor(x * scale); j < Math.min(width, (x + 1) * scale); j++) {
        sum += pixels[i * width + j];
        count++;
      }
    return 232 + Math.round((count === 0 ? 1 : Math.min(1, Math.max(0, sum / count))) * 23);
  };
  return Array.from({ length: Math.ceil(h / 2) }, (_, row) => {
    const cells = Array.from({ length: w }, (_, x) => `\x1b[38;5;${shade(x, 2 * row)};48;5;${shade(x, 2 * row + 1)}m▀`);
    return `${cells.join("")}\x1b[0m`;
  });
}
