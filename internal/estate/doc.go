// Package estate knows the places and the people: projects, buildings,
// entrances, units, households, residents, and which WeChat user is which
// resident.
//
// A resident is a person; owner, family, tenant, short stay and merchant are
// roles of a person in a unit (glossary section 1). A household is everyone
// who belongs to one unit at one time. 单元 is an entrance, never a unit.
//
// Binding (interfaces section 3): who sends a home and a phone gets a code by
// SMS if that phone is registered for that home, and learns nothing if it is
// not. Phones, openids and codes never stand in an error or a log line.
//
// It must not send anything: StartBindTx hands the code to the caller, who
// puts it into the ledger. Floor 3, on top of company and db.
package estate
