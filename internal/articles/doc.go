// Package articles keeps the knowledge articles of a company and answers
// residents' questions from them: who owns an article, who approved which
// version, when it must be looked at again, for whom and how long it holds
// what it answered and whether that helped (R-062,
// R-206), and which questions no article could answer.
//
// Only approved versions that are valid now, and whose review date has not
// passed, answer anybody. Finding the article is bot/knowledge's, which knows no
// row and no date; this package builds an index for each company and scope, and
// builds it anew when a stamp in the database says that something changed, on
// whichever node.
//
// It must not know conversations or cases beyond their ids and numbers, and says
// nothing to anybody: words go back to the caller as wording.Text. Floor 3, on
// top of staff (rights), wording, db and the leaf bot/knowledge.
package articles
