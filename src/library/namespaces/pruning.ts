/** @file Pruning piece by piece. */
export { type BlockReport, type BlockResult, pruneBlocks } from "../../prune/blocks/prune-blocks.ts";
export type { Clock, LatencyTable, TimeModels } from "../../prune/channels/latency/latency-table.ts";
export { type ChannelResult, pruneChannels } from "../../prune/channels/prune-channels.ts";
export type { SensitivityReport } from "../../prune/channels/sensitivity.ts";
export type { PruneSurroundings } from "../../prune/channels/surroundings.ts";
export { criteria as pruneCriteria } from "../../prune/criteria/index.ts";
export type { ChannelData } from "../../prune/evidence/channel-data.ts";
export { type PruneOptions, pruneOptions } from "../../prune/options.ts";
export { type PrunedTokenizer, pruneTokenizer } from "../../prune/vocabulary/prune-tokenizer.ts";
export { pruneVocabulary, type VocabularyResult, vocabularyOf } from "../../prune/vocabulary/prune-vocabulary.ts";
export { pruneWeights, type WeightResult } from "../../prune/weights/prune-weights.ts";
