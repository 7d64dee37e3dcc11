// Package company keeps the property companies of an installation: their
// names, their settings and the credentials with which they speak to WeChat,
// WeCom and the SMS carrier.
//
// Signatures, templates and accounts are licensed per company (architecture
// section 1, decision 11), so everything above asks this package "whose is
// it" and scopes its own rows by the company's id. Credentials are sealed
// before they reach a row. A Directory is the whole of it in memory: once
// loaded it answers without the database, because a callback must be verified
// and danger must be answered while the database is away (decision 9).
//
// It must not call a vendor, hold a token or know a resident. Floor 2, on top
// of db.
package company
