package estate

import "strconv"

// OptedOut is a SELECT of one column, resident id and channel of the audience
// joined by a colon, of everybody who wants no messages of a class or none of
// choice at all. Its parameters are numbered from first.
func (e *Estate) OptedOut(companyID, class string, first int) (text string, args []any) {
	return `SELECT resident_id || ':' || CASE channel WHEN 'wechat' THEN '` + AudienceTemplate + `' ELSE channel END FROM opt_outs
		WHERE company_id = $` + strconv.Itoa(first) + ` AND class IN ('` + OptOutAll + `', $` + strconv.Itoa(first+1) + `)`, []any{companyID, class}
}
