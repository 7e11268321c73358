package git

import "context"

// Token is what the API of a Git host may be asked with, where the credential holds
// such a thing: its bearer token, its password, or a token of the GitHub App. It is
// empty for no credential and for an SSH key. Errors are those of getting a token.
func (s *Store) Token(ctx context.Context, c Credential) (string, error) {
	if c.app() != nil {
		minted, err := s.door.apps.token(ctx, c, Credential{})
		if err != nil {
			return "", err
		}
		c = minted
	}
	switch {
	case c.secret == nil || c.secret.key != nil:
		return "", nil
	case c.secret.bearer != "":
		return c.secret.bearer, nil
	}
	return c.secret.password, nil
}
