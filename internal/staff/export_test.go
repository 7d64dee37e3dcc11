package staff

// TakeTurn holds the one place of a password hash until the result is called.
func (s *Staff) TakeTurn() (release func()) {
	s.hashing <- struct{}{}
	return s.giveTurn
}
