package intent

type slotReader struct{}

func (b *builder) slotWords() { b.c.slots = &slotReader{} }

func (s *slotReader) read(_ []rune) Slots { return Slots{} }

func isAddress(string) bool { return false }
