package estate

import "strconv"

// OptedOut is a SELECT of one column, resident id and channel of the audience
// joined by a colon, of everybody who wants no messages of a class or none of
// choice at all. Who opted out of every channel has opted out of each. Its
// parameters are numbered from first.
func (e *Estate) OptedOut(companyID, class string, first int) (text string, args []any) {
	company, of := "$"+strconv.Itoa(first), "$"+strconv.Itoa(first+1)
	channel := func(name, optOut string) string {
		return `SELECT resident_id || ':` + name + `' FROM opt_outs
		WHERE company_id = ` + company + ` AND class IN ('` + OptOutAll + `', ` + of + `) AND channel IN ('` + optOut + `', '` + OptOutAll + `')`
	}
	return channel(AudienceTemplate, OptOutWeChat) + `
		UNION ALL ` + channel(AudienceSMS, OptOutSMS), []any{companyID, class}
}
