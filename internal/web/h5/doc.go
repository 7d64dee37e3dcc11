// Package h5 serves the pages that residents open inside WeChat or from an SMS:
// the questionnaire of a survey. Pages are plain forms that work without script
// on an old phone, in large type.
//
// The link in an address is all the right that its holder has (notify/survey
// signs it); a GET changes nothing, so that preview robots do no harm. The
// package decides nothing about surveys and keeps no state. It must not log an
// address, since the address is the link. Floor 5.
package h5
