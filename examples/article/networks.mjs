/** @file The article's network, and a student a tenth its size. */
import { nn } from "tersor";

const options = { input: [1, 32, 32] };

/** Section 4.1.1 of the article, with the Flatten that it lacks. */
export function articleNetwork(seed = 1) {
  return nn.build(
    [
      nn.conv2d(32, 3, { padding: 1 }),
      nn.relu(),
      nn.maxPool(2),
      nn.conv2d(64, 3, { padding: 1 }),
      nn.relu(),
      nn.maxPool(2),
      nn.flatten(),
      nn.linear(10),
    ],
    { ...options, seed, name: "article" },
  );
}

/** The same task with 5,130 parameters in place of 59,786. */
export function studentNetwork(seed = 1) {
  return nn.build(
    [
      nn.conv2d(10, 3, { padding: 1 }),
      nn.relu(),
      nn.maxPool(2),
      nn.conv2d(20, 3, { padding: 1 }),
      nn.relu(),
      nn.maxPool(4),
      nn.flatten(),
      nn.linear(10),
    ],
    { ...options, seed, name: "student" },
  );
}
