/** @file Files of this package, wherever in it the running code lies: in src, in dist or in the bundled command line. */

/** URL of a file given by its path from the package's root. */
export function packageFile(path: string): URL {
  // Neither folder holds another of these names, so the last one in the path is the package's own.
  const root = import.meta.url.replace(/^(.*\/)(?:src|dist)\/.*$/, "$1");
  return new URL(path, root);
}
