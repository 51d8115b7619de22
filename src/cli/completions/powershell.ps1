# PowerShell completion of __VERSION__, made by: run-comfyui-e2e -Completions powershell
# In $PROFILE: run-comfyui-e2e -Completions powershell | Out-String | Invoke-Expression
Register-ArgumentCompleter -Native -CommandName 'run-comfyui-e2e' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $options = @(
__ROWS__
    )
    function Complete($text, $shown, $kind, $help) {
        [System.Management.Automation.CompletionResult]::new($text, $shown, $kind, $help)
    }
    $before = @($commandAst.CommandElements |
        Where-Object { $_.Extent.EndOffset -lt $cursorPosition } |
        ForEach-Object { $_.Extent.Text })
    # Behind -- there are no options: what is not answered here becomes a file's name.
    if ($before -ccontains '--') { return }
    $verb = 'run'
    if ($before.Count -gt 1 -and __VERBS__ -ccontains $before[1]) { $verb = $before[1] }
    $options = @($options | Where-Object { $_.Verbs -ccontains $verb })
    # -Name:value and --name=value are one word.
    $name = $before[-1]
    $stem = ''
    $typed = $wordToComplete
    if ($wordToComplete -match '^(--[a-z-]+=|-[a-z]+:)(.*)$') {
        $stem = $Matches[1]
        $typed = $Matches[2]
        $name = $stem.Substring(0, $stem.Length - 1)
    }
    $option = $options | Where-Object { $_.Gnu -ceq $name -or $_.Name -eq $name } |
        Select-Object -First 1
    if (-not $option -and $name.StartsWith('-')) {
        $near = @($options | Where-Object { $_.Name.StartsWith($name, 'OrdinalIgnoreCase') })
        if ($near.Count -eq 1) { $option = $near[0] }
    }
    if ($option -and ($stem -or -not $option.Switch)) {
        $words = if (-not $option.Switch) { $option.Words } elseif ($stem.EndsWith(':')) { '$true', '$false' }
        $words | Where-Object { $_ -and $_.StartsWith($typed, 'OrdinalIgnoreCase') } |
            ForEach-Object { Complete "$stem$_" $_ 'ParameterValue' $option.Help }
        return
    }
    if ($wordToComplete.StartsWith('-')) {
        foreach ($option in $options) {
            $text = if ($wordToComplete.StartsWith('--')) { $option.Gnu } else { $option.Name }
            if ($text.StartsWith($wordToComplete, 'OrdinalIgnoreCase')) {
                Complete $text $text 'ParameterName' $option.Help
            }
        }
    } elseif ($before.Count -eq 1) {
        __VERBS__ | Where-Object { $_.StartsWith($wordToComplete, 'OrdinalIgnoreCase') } |
            ForEach-Object { Complete $_ $_ 'Command' $_ }
    }
}
