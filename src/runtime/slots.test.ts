/** @file Tests of slots: who owns what is in them, and in what shape it is read. */
import { expect, it } from "vitest";
import { hostTensor } from "../tensor/host-tensor.ts";
import { MemorySlots } from "./slots.ts";

const tensor = () => hostTensor("float32", [2, 3], [1, 2, 3, 4, 5, 6]);
const sizeOf = ({ data }: ReturnType<typeof tensor>) => data.length;

it("frees what runs left when it is replaced or dropped, but not what was put there or was handed out", async () => {
  const slots = new MemorySlots();
  const [given, first, second] = [tensor(), tensor(), tensor()];
  await slots.put({ w: given });
  slots.take({ w: first });
  expect(sizeOf(given)).toBe(6);
  const { w } = await slots.get(["w"]);
  slots.take({ w: second });
  expect(sizeOf(first)).toBe(0);
  expect(w).toEqual(tensor());
  await slots.drop(["w", "none"]);
  expect(sizeOf(second)).toBe(0);
});

it("reads a tensor in the dims of an input, where these are fixed and hold as many elements", async () => {
  const slots = new MemorySlots();
  await slots.put({ w: tensor() });
  const dimsFor = (dims: readonly (number | string)[]) =>
    slots.fill({}, { x: "w" }, [{ name: "x", dtype: "float32", dims }]).x?.dims;
  expect(dimsFor([6])).toEqual([6]);
  expect(dimsFor([3, 1, 2])).toEqual([3, 1, 2]);
  expect(dimsFor([4])).toEqual([2, 3]);
  expect(dimsFor(["N", 2])).toEqual([2, 3]);
  await expect(slots.get(["v"])).rejects.toThrow('slot "v": holds nothing');
});
