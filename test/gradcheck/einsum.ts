/** @file Cases of the gradient check: Einsum. */
import type { Cases } from "./gradcheck.ts";

const einsum = (equation: string, ...operands: readonly string[]) => {
  const names = operands.map((_, i) => "abc"[i]);
  const inputs = operands.map((dims, i) => `T${dims && `[${dims}]`} ${names[i]}`);
  return `(${inputs.join(", ")}) => (y) { y = Einsum<equation = "${equation}">(${names.join(", ")}) }`;
};

export const einsums: Cases = {
  Einsum: [
    einsum("ij,jk->ik", "2,3", "3,4"),
    einsum("bhqd, bhkd -> bhqk", "2,2,3,4", "2,2,5,4"),
    einsum("ij,jk", "2,3", "3,4"),
    einsum("zb,ab->a", "2,3", "4,3"),
    einsum("ij->ji", "2,3"),
    einsum("ij->i", "2,3"),
    einsum("ijk->", "2,3,2"),
    einsum("ij,ij->", "2,3", "2,3"),
    einsum("i,j->ij", "3", "4"),
    einsum("ij,jk,kl->il", "2,3", "3,4", "4,2"),
    einsum("ij,ik,il->jkl", "2,3", "2,2", "2,4"),
    einsum("...ij,...jk->...ik", "2,3,4", "2,4,5"),
    einsum("...ij,jk->...ik", "2,2,3,4", "4,5"),
    einsum("b...,...d->b...d", "5,2,3", "2,3,4"),
    einsum("...i,...i", "2,4,3", "2,4,3"),
  ],
};
