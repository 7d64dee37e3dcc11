// Package intent reads a resident's message: what he wants, what it is about,
// whether life or property is in danger now, and which home, telephone, case
// number or rating he names.
//
// It is a first, honest classifier of reviewed patterns: word lists and weighted
// cues under data/ (Simplified Chinese, normalised), and a little code that
// weighs them. It is pure: no clock, no database, no network, so danger is
// recognised even when everything else is away. Commands such as 「人工」 or
// 「绑定 …」 are the engine's matter; here they are just words.
//
// Labels are the codes of the glossary; see the constants of this package. The
// package is a leaf: it imports nothing of the module.
package intent
