package wording

// Has reports whether there is such a text.
func (b *Book) Has(key string) bool { return b.entries[key] != nil }

// Stored makes a Text again from words that once left Say, Staff or Join and
// were kept in a row, such as an answer whose exchange broke. It cleans and
// measures them as before; nothing else may use it.
func Stored(key, s string) (Text, error) {
	s = clean(s)
	if s == "" {
		return Text{}, ErrEmpty{Key: key}
	}
	if len(s) > MaxReply {
		return Text{}, tooLong(key, len(s), MaxReply)
	}
	return Text{key: key, s: s}, nil
}
