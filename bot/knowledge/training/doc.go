// Package training makes the weights of bot/knowledge from questions by kind
// (corpus/*.tsv), and measures what they are worth on questions of an author
// that they were not made from.
//
// Training is deterministic: files in the order of their names, rows in their
// own order, fixed seeds, one thread. The same corpus, concepts and articles give
// the same bytes. The program never imports it while it serves; only the
// commands train and answer do. A part of bot/knowledge; the fitting itself is
// bot/intent/training's.
package training
