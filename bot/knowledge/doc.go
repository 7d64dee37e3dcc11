// Package knowledge finds the article that answers a resident's question, and
// says nothing when no article does.
//
// A question is read twice. A linear model over characters and concepts
// (data/concepts.yaml) tells which kind of question it is (data/kinds.yaml), and
// the same model has told which kinds an article answers, so that an article
// file never seen before is understood too. Beside it stands a comparison by
// words (BM25 over pairs of characters and concepts). A small logistic model
// weighs both, and only what passes a frozen threshold is answered.
//
// The package is pure: no database, no clock, no network. Rows, approval and
// validity of articles are internal/articles'; weights are made by
// bot/knowledge/training from corpus/*.tsv and embedded here. Leaf.
package knowledge
