-- An entry by itself. Answers {appended, {}}.
append()
return {APPENDED, {}}
