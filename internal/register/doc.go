// Package register keeps the registers that the procedures of the trade name
// (requirements section 18) and gives them out as table, file and printed page.
//
// Today it holds the publication register 《对客信息发布一览表》: every notice is a
// row from its draft on, with who approved it and when, an
// approval that came afterwards shown as such, and the forms in which it
// was published, each ticked off with time and person. Other rooms write
// their rows inside their own transactions through the ...Tx functions; the row
// is a copy of what was true then, and never the truth that they act on.
//
// It must not send, approve or decide anything, and it knows no notice: only a
// reference by kind and id. Floor 3, on top of company, wording and db.
package register
