// Package survey asks residents how satisfied they are, and counts each answer
// once.
//
// There is one model for all of it. A survey is a questionnaire of a version
// that is put to people: after a case, after an inquiry that staff answered,
// from time to time, after an event. Who is asked is an invitation, one row a
// person and survey (and case), also for who is not asked, with the reason. An
// answer is one row a person or a home, kept so by a unique key; figures are
// counts that the answering transaction brings up to date. The rating of a case
// is an answer to the survey "after a case": desk keeps it on the case for show
// and tells this package of it.
//
// Frequency, sample and scale are settings and files (templates/survey), never
// constants: the source names the procedure and does not contain it.
//
// An anonymous survey keeps no trace from an answer to a person: its answers
// are counts and words that carry no invitation, no person, no home and no time,
// the words under random keys and in random order, and what says that a link has been used is a
// hash under a key that is not in the database. Answering writes nothing to a
// row that names a person. It is answered on its page only, because chat and
// SMS keep what was said with who said it.
//
// The package sends nothing and calls no vendor: invitations are deliveries of
// the ledger. It knows no HTTP; pages hand it a token and a form. Floor 4, in
// the family of notify, whose types it shares.
package survey
