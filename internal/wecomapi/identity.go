package wecomapi

import (
	"context"
	"net/url"
	"strconv"
)

// AuthorizeURL is the address a member opens inside WeCom to sign in silently.
// state must be a one-time value that the caller has bound to a cookie: it is
// the only protection against a foreign sign-in.
func (c *Client) AuthorizeURL(corp Corp, redirect, state string) string {
	q := url.Values{
		"appid":         {corp.CorpID},
		"redirect_uri":  {redirect},
		"response_type": {"code"},
		"scope":         {"snsapi_base"},
		"state":         {state},
		"agentid":       {strconv.Itoa(corp.AgentID)},
	}
	return c.authorize + "/connect/oauth2/authorize?" + q.Encode() + "#wechat_redirect"
}

// LoginURL is the address a member opens in a desktop browser to sign in by
// scanning a code; state as for AuthorizeURL.
func (c *Client) LoginURL(corp Corp, redirect, state string) string {
	q := url.Values{
		"login_type":   {"CorpApp"},
		"appid":        {corp.CorpID},
		"agentid":      {strconv.Itoa(corp.AgentID)},
		"redirect_uri": {redirect},
		"state":        {state},
	}
	return c.login + "/wwlogin/sso/login?" + q.Encode()
}

// UserByCode exchanges the code of a sign-in for the member's userid. A code
// is good once and for 5 minutes (else errcode 40029, ClassPermanent). A
// person who is no member is ErrNotMember.
func (c *Client) UserByCode(ctx context.Context, corp Corp, code string) (string, error) {
	const op = "auth/getuserinfo"
	var answer struct {
		UserID string `json:"userid"`
	}
	if err := c.withToken(ctx, corp, op, "/cgi-bin/auth/getuserinfo", url.Values{"code": {code}}, nil, &answer); err != nil {
		return "", err
	}
	if answer.UserID == "" {
		return "", &Error{Op: op, Class: ClassPermanent, cause: ErrNotMember}
	}
	return answer.UserID, nil
}

// maxOpenUserIDs is how many the vendor converts in one call.
const maxOpenUserIDs = 1000

// UserIDs converts the encrypted userids ("wo...") that an aibot may hand over
// (document 101521) into plain ones, by the token of the corp's app. An id the
// vendor cannot convert stands for itself: a plain userid is listed as
// invalid, too.
func (c *Client) UserIDs(ctx context.Context, corp Corp, ids []string) (map[string]string, error) {
	out := make(map[string]string, len(ids))
	for _, id := range ids {
		out[id] = id
	}
	for start := 0; start < len(ids); start += maxOpenUserIDs {
		chunk := ids[start:min(start+maxOpenUserIDs, len(ids))]
		var answer struct {
			List []struct {
				Open string `json:"open_userid"`
				ID   string `json:"userid"`
			} `json:"userid_list"`
		}
		body := map[string]any{"open_userid_list": chunk}
		if err := c.withToken(ctx, corp, "batch/openuserid_to_userid", "/cgi-bin/batch/openuserid_to_userid", nil, body, &answer); err != nil {
			return nil, err
		}
		for _, u := range answer.List {
			if _, asked := out[u.Open]; asked && u.ID != "" {
				out[u.Open] = u.ID
			}
		}
	}
	return out, nil
}
