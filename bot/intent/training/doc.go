// Package training makes the weights of bot/intent from labelled messages, and
// measures what they are worth on messages that they were not made from.
//
// Training is deterministic: files in the order of their names, rows in their own
// order, a fixed seed, one thread, no order of a map, and sums that no processor
// may fuse. The same corpus and lexicon give the same bytes.
//
// It is a part of bot/intent and imports nothing else of the module. The program
// never imports it while it serves; only the commands train and classify do.
package training
